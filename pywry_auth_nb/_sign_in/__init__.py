"""Signing in: a person, or a source of tokens, between two states of a session."""
