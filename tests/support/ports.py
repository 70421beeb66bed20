"""Ports for the programs that tests start, which no other process takes before the program listens."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below the range from which an operating system assigns ports: a connection or a kernel that begins
# between the choice and the start of the program cannot take it.
_CHOICE = range(11_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """Return a free port of 127.0.0.1 that this process has not been given before."""
    while True:
        port = random.SystemRandom().choice(_CHOICE)  # several processes of tests run at once, some with one seed
        with socket.socket() as probe, suppress(OSError):
            if port not in _given:
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port
