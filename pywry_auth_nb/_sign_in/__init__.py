"""Signing in: with the widget in a notebook, or with a window or browser from a terminal."""
