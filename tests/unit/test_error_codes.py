"""The table of error codes, and the messages and the page of the docs that are made from it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from pywry_auth_nb import AuthenticationError, AuthFlowTimeout, TokenError, TokenRefreshError
from pywry_auth_nb._wire.error_codes import TABLE, ErrorCode, document, explain, fill, is_known
from pywry_auth_nb.providers.refusals import as_refresh_error

ROOT = Path(__file__).parents[2]


def test_the_type_checker_knows_the_table() -> None:
    """``ErrorCode`` and the table have the same codes; mypy compares neither with the other."""
    assert set(get_args(ErrorCode)) == set(TABLE)
    assert list(get_args(ErrorCode)) == sorted(TABLE)


def test_every_entry_reads_well_by_itself() -> None:
    """A page knows the code alone: without any value every placeholder has a word, or is left out."""
    for code, entry in TABLE.items():
        assert re.fullmatch("[a-z0-9_]{1,40}", code)
        assert entry.title[0].isupper(), code
        assert not entry.title.endswith("."), code
        for text in (entry.sentence, entry.advice):
            shown = fill(text, {})
            assert shown.endswith("."), code
            assert not re.search(r"[{}\[\]]|  | \.", shown), shown


def test_every_placeholder_can_be_filled() -> None:
    """What a raise names stands in the message."""
    for code, entry in TABLE.items():
        values = dict.fromkeys(entry.placeholders, 12345)
        assert entry.text(**values).count("12345") == len(values), code


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AuthenticationError(code="not_started"), "The callback server is not running. Call start() first."),
        (
            TokenError(code="network", host="op.example.org", reason="ConnectError"),
            "op.example.org could not be reached (ConnectError). Check the address and the network, then try again.",
        ),
        (
            TokenError(code="network"),
            "The provider could not be reached. Check the address and the network, then try again.",
        ),
        (AuthFlowTimeout(None, 5.0), "The sign-in was not finished in time (5 s). Sign in again."),
        (TokenError("Words of its own.", code="network"), "Words of its own."),
        (
            TokenError(code="network", host="{place}[{host}]"),
            "{place}[{host}] could not be reached. Check the address and the network, then try again.",
        ),
    ],
)
def test_a_raise_gives_the_code_or_words_of_its_own(error: AuthenticationError, text: str) -> None:
    """The table's sentence and advice are the message where the raise has none; values are never read as templates."""
    assert error.message == text
    assert str(error) == text
    assert error.args == (text,)


def test_what_the_sentence_does_not_say_is_shown_after_it() -> None:
    """Context fills placeholders; the rest of it, provider and flow follow the message."""
    error = AuthenticationError(None, "github", "f1", code="network", host="github.com", attempt=2)

    assert str(error).endswith("then try again. (provider=github, flow_id=f1, attempt=2)")
    assert error.context == {"provider": "github", "flow_id": "f1", "attempt": 2}


def test_an_error_of_a_refresh_keeps_message_and_code() -> None:
    """What was filled in once stays, and is not said twice."""
    error = as_refresh_error(TokenError(code="provider_unavailable", status=503, retry_after=7.0))

    assert isinstance(error, TokenRefreshError)
    assert str(error) == "The provider could not give a token (HTTP 503). Try again in a moment."
    assert (error.code, error.retry_after) == ("provider_unavailable", 7.0)


def test_a_code_that_is_not_in_the_table() -> None:
    """A provider class of the user's may have one: it is kept, with the general words."""
    error = TokenError(code="theirs")  # type: ignore[arg-type]

    assert error.code == "theirs"
    assert error.message == explain("authentication_failed").text()
    assert [is_known(code) for code in ("network", "theirs", None, ["network"])] == [True, False, False, False]


def test_the_page_of_the_docs_is_up_to_date() -> None:
    """The page is what the command prints."""
    command = [sys.executable, "-m", "pywry_auth_nb._wire.error_codes"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout

    assert printed == document()
    assert (ROOT / "docs" / "error-codes.md").read_text(encoding="utf-8") == printed
