"""What the kernel and the Jupyter server both know. It imports nothing of either."""
