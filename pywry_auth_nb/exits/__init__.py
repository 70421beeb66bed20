"""Ways out of the kernel: what other programs on this machine get of one sign-in, and only if they are asked for."""
