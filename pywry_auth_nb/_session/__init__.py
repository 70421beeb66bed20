"""One sign-in, kept alive: what it is (`state`), its store, its refreshes, who is told, and the engine that owns it."""
