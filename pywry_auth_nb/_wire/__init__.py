"""Code shared by the kernel and the Jupyter server. It imports nothing of either."""
