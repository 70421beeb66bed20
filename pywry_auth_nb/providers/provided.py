"""`Provided`: a token that was put into a setting, the environment or a file by something else."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .._io.loop import in_thread
from ..errors import ConfigurationError, TokenError
from ..tokens import Secret

if TYPE_CHECKING:
    from os import PathLike

_TOKEN = re.compile("[\x21-\x7e]+")  # RFC 6750 §2.1, and what providers do in practice
_MAX_BYTES = 64 * 1024
_READ_DEADLINE = 5.0  # seconds: the file may be on a network


class Provided:
    """A token that stands in a setting or in a file.

    Args:
        name: The setting's name, such as ``"access_token"``; with ``_file`` appended it is that of the file.
        value: The token.
        file: The path of a file with the token and nothing else.

    Raises:
        ConfigurationError: Neither or both are given, or the value is not one token.
    """

    def __init__(self, name: str, value: str, file: str | PathLike[str]) -> None:
        value = Secret(value)
        if bool(value) == bool(str(file)):
            raise ConfigurationError(f"Give either {name} or {name}_file.")
        self._value = value
        self._file = Path(file).expanduser() if str(file) else None
        #: Where the token is, for messages.
        self.place = f"the setting {name!r}" if self._file is None else f"the file {self._file}"
        if self._file is None and _TOKEN.fullmatch(value) is None:
            raise ConfigurationError(f"The setting {name!r} must be one token and nothing else.")

    @property
    def is_file(self) -> bool:
        """Whether the token may change while this process runs."""
        return self._file is not None

    @property
    def fingerprint(self) -> str:
        """What identifies the token, if it stands in a setting, or the file: a hash, or the path."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:32] if self._file is None else str(self._file)

    def read(self) -> Secret:
        """Return the token as it is now.

        Raises:
            TokenError: Code ``token_not_provided``: the file is missing, unreadable, or holds something else.
        """
        if self._file is None:
            return self._value
        try:
            with self._file.open("rb") as file:
                text = Secret(file.read(_MAX_BYTES).decode("utf-8-sig").strip())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise TokenError(code="token_not_provided", place=self.place, reason=reason) from None
        if _TOKEN.fullmatch(text) is None:
            reason = "something else than one token" if text else "empty"
            raise TokenError(code="token_not_provided", place=self.place, reason=reason)
        return text

    async def read_soon(self) -> Secret:
        """Return the token as it is now, within 5 s; see :meth:`read`."""
        try:
            return await asyncio.wait_for(in_thread(self.read), _READ_DEADLINE)
        except asyncio.TimeoutError:
            raise TokenError(code="token_not_provided", place=self.place, reason="no answer in time") from None
