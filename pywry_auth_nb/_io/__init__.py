"""Everything that touches the world: the background loop, HTTP, the keyring, and what a fork leaves behind."""
