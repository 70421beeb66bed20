"""Input and output: the background loop, HTTP, the keyring, the notebook's cells, and hooks for forks."""
