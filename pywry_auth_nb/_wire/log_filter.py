"""Keeps the provider's answer out of the logs of those who write addresses into theirs: a hub, a Jupyter server.

Both know to leave it out where it is in an address, and not where that is inside another one: in ``next=``, or in the
``Referer`` of a request that failed. It is light, since a hub imports it.
"""

from __future__ import annotations

import contextlib
import logging
import re

from .hub_routing import CALLBACK

_SLASH, _QUESTION = "(?:/|%(?:25)*2F)", r"(?:\?|%(?:25)*3F)"  # percent-encoded as often as they are nested
_QUERY = re.compile(f"({CALLBACK.replace('/', _SLASH)}{_SLASH}?{_QUESTION})[^\\s\"'<>]+", re.IGNORECASE)


def keep_answers_out_of(*names: str) -> None:
    """Take the provider's answer out of every line that the loggers called ``names`` write from now on."""
    for name in names:
        logging.getLogger(name).addFilter(hide_answer)


def hide_answer(record: logging.LogRecord) -> bool:
    """Take the provider's answer out of a line of the log; leave every other line as it is, and drop none."""
    with contextlib.suppress(Exception):  # a line that cannot be formatted is for logging itself to complain about
        line = record.getMessage()
        if _QUERY.search(line):
            record.msg, record.args = _QUERY.sub(r"\1[secret]", line), ()
    return True
