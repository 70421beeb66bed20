"""What a kernel and its workers agree on: which machine this is, and how an answer is proved."""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import socket
import uuid
from pathlib import Path

HOST = "127.0.0.1"
#: The path at which a handle asks, by the method: GET for a token, POST with the fingerprint of a refused one
#: for another.
TOKEN_PATH = "/handle"  # noqa: S105 - a path
NONCE_HEADER = "X-Pywry-Nonce"
PROOF_HEADER = "X-Pywry-Proof"

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NETWORK = Path("/proc/self/ns/net")


def proof(key: str, nonce: str, body: bytes) -> str:
    """Return what only a holder of ``key`` can say about ``body``: another program may listen at a port later."""
    return hmac.new(key.encode(), nonce.encode() + b"\n" + body, hashlib.sha256).hexdigest()


def fingerprint(token: str) -> str:
    """Return what names ``token`` to a kernel that has it, and is worth nothing to any other program."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@functools.cache
def this_machine() -> str:
    """Return a name for what shares this loopback interface, without saying anything about the machine."""
    try:  # Linux: the same boot, and the same network namespace, which a container has of its own
        parts = [_BOOT_ID.read_text("ascii").strip(), str(_NETWORK.stat().st_ino)]
    except OSError:
        parts = [socket.gethostname(), f"{uuid.getnode():x}", os.name]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
