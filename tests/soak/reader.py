"""What runs in the kernels: read the token all the time, show it to the provider often, write down what happens.

Every line of the diary is JSON and reaches the file at once, so that a kernel that is killed has told all. Tokens are
in it as fingerprints.

=========  =============================================================================================================
``born``   the session exists; ``at``
``first``  it gave its first token; ``at``
``saw``    ``reads`` times one ``token``, the last time at ``last``: the latest moment at which it was still handed out
``asked``  the provider was shown ``token``, which had been read at ``read``, and said ``status`` at ``answered``
``raised`` reading raised: ``type`` and ``code``, and the session's ``status`` and ``trouble``; ``at``
``gap``    there was no token ``since`` … ``until``
=========  =============================================================================================================
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from pywry_auth_nb import AuthenticationError

from .proxy import fingerprint

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager

BETWEEN_READS = 0.005  # seconds
BETWEEN_QUESTIONS = 0.3
BETWEEN_FAILURES = 0.1
SLOW = 0.1  # seconds; who takes longer was waiting, or paused


class Reader:
    """Reads the token of one session until the file ``stop`` appears beside its diary."""

    def __init__(self, session: SessionManager, api: str, diary: str) -> None:
        self._session = session
        self._api = api
        self._stop = Path(diary).with_name("stop")
        self._file = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._token = ""
        self._reads = 0  # since they were last told of
        self._read_at = self._last = time.time()
        self._told_at = self._asked_at = 0.0
        self._tell("born", at=time.time())

    def first(self) -> None:
        """Read until there is a token."""
        while not (token := self._read()) and not self._stop.exists():
            time.sleep(BETWEEN_FAILURES)
        if token:
            self._tell("first", at=self._last)

    def run(self) -> None:
        """Read, and ask the provider, to the end; the last question comes after it."""
        with httpx.Client(trust_env=False, timeout=5) as client:
            while not self._stop.exists():
                token = self._read()
                if token and time.time() - self._asked_at > BETWEEN_QUESTIONS:
                    self._ask(client, token)
                time.sleep(BETWEEN_READS if token else BETWEEN_FAILURES)
            if token := self._read():
                self._ask(client, token)
        self._tell_reads()
        os.close(self._file)

    def _read(self) -> str | None:
        begun = time.time()
        try:
            token = self._session.access_token
        except AuthenticationError as error:
            trouble = self._session.error
            names = {"type": type(error).__name__, "code": error.code, "trouble": trouble and trouble.code}
            self._tell("raised", at=time.time(), status=self._session.status, **names)
            return None
        now = time.time()
        self._count(token, now if now - begun < SLOW else begun, now)
        return token

    def _count(self, token: str, read: float, now: float) -> None:
        """Note a good read; ``read`` is a moment at which the token was surely not older than it was when read."""
        if now - self._last > SLOW * 2:
            self._tell("gap", since=self._last, until=now)
        if token != self._token or now - self._told_at > 1:
            self._tell_reads()
            self._token, self._told_at = token, now
        self._reads += 1
        self._read_at, self._last = read, now

    def _tell_reads(self) -> None:
        if self._reads:
            self._tell("saw", token=fingerprint(self._token), last=self._read_at, reads=self._reads)
        self._reads = 0

    def _ask(self, client: httpx.Client, token: str) -> None:
        read, status = self._read_at, 0
        with suppress(httpx.TransportError):
            status = client.get(self._api, headers={"Authorization": f"Bearer {token}"}).status_code
        self._asked_at = time.time()
        self._tell("asked", token=fingerprint(token), read=read, answered=self._asked_at, status=status)

    def _tell(self, what: str, **facts: Any) -> None:
        os.write(self._file, json.dumps({"what": what, **facts}).encode() + b"\n")
