"""A program without a secret: reads a token in one way and sends it to an API, until its standard input is closed.

It writes a line when it begins, and in the end what it saw, as JSON without tokens.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(url: str, authorization: str) -> tuple[int, str]:
    """Send one request, directly."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("GET", parts.path or "/", headers={"Authorization": authorization})
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def from_endpoint() -> str:
    """Ask the endpoint that the environment names."""
    return ask(f"{os.environ['PYWRY_AUTH_URL']}/token", Path(os.environ["PYWRY_AUTH_KEY_FILE"]).read_text())[1]


def reading(way: str, place: str) -> Callable[[], str]:
    """Return what reads a token."""
    if way == "endpoint":
        return from_endpoint
    if way == "file":
        return Path(place).read_text
    handle: Callable[[], str] = pickle.loads(Path(place).read_bytes())  # noqa: S301 - the test's own
    return handle


def main(way: str, place: str, api: str) -> None:
    """Read and send until told to stop."""
    read, stopped = reading(way, place), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    say("begun")
    sent = refused = 0
    seen = set()
    while not stopped.wait(0.02):
        token = read()
        status, _ = ask(api, f"Bearer {token}")
        sent, refused = sent + 1, refused + (status != http.client.OK)
        seen.add(hashlib.sha256(token.encode()).hexdigest())
    say(json.dumps({"sent": sent, "refused": refused, "tokens": sorted(seen)}))


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
