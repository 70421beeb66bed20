"""Tests with a real JupyterHub: its proxy, its users, their servers and their browsers."""
