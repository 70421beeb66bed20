"""The parts of a session: its state, store, refreshes and notifications, and the engine that owns the state."""
