"""Clients of the field, each with a sign-in that is renewed while they are in use: docs/clients.md is their table."""
