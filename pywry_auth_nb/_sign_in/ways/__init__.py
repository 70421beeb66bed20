"""Ways to sign in: by the Jupyter server's route, by loopback (with paste), and by a device code."""
