"""What other programs on this machine get of one sign-in."""
