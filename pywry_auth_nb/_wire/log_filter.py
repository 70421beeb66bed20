"""A log filter that removes the provider's answer from URLs in the logs of a hub or a Jupyter server.

Both redact the query of the URL itself, but not that of a URL inside another one: in ``next=``, or in the ``Referer``
of a failed request. This module has few imports, since a hub imports it.
"""

from __future__ import annotations

import contextlib
import logging
import re

from .hub_routing import CALLBACK

_SLASH, _QUESTION = "(?:/|%(?:25)*2F)", r"(?:\?|%(?:25)*3F)"  # percent-encoded once for every level of nesting
_QUERY = re.compile(f"({CALLBACK.replace('/', _SLASH)}{_SLASH}?{_QUESTION})[^\\s\"'<>]+", re.IGNORECASE)


def keep_answers_out_of(*names: str) -> None:
    """Add :func:`hide_answer` to the loggers called ``names``."""
    for name in names:
        logging.getLogger(name).addFilter(hide_answer)


def hide_answer(record: logging.LogRecord) -> bool:
    """Redact the provider's answer in a log record. Other records pass unchanged; none is dropped."""
    with contextlib.suppress(Exception):  # logging itself reports a record that cannot be formatted
        line = record.getMessage()
        if _QUERY.search(line):
            record.msg, record.args = _QUERY.sub(r"\1[secret]", line), ()
    return True
