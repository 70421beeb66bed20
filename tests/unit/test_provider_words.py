"""What a provider says about a failure: plain text, without secrets, in the log, the error and the widget only."""

from __future__ import annotations

import asyncio
import json
import logging
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from pywry_auth_nb import (
    AuthenticationError,
    AuthFlowManager,
    GenericOIDCProvider,
    LoginWidget,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenExpiredError,
    TokenRefreshError,
)
from pywry_auth_nb.providers.description import plain_text, secrets_in_answer, words_in
from tests.conftest import REDIRECT_URI, sign_in
from tests.support.aging import expire
from tests.support.idp import CLIENT, Answer, Idp, Request
from tests.support.waiting import until, within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SAID = "User is not assigned <b>to</b> this application."
SECRET = "CANARY secret/&+%=\u00fc"

# -- as a value -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", ""),
        (" one\r\n\ttwo\u2028three ", "one two three"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("pay \u202eevil\u2066 \u200bnow\ufeff", "pay evil now"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("M\u00fcller, \u65e5\u672c \U0001f600", "M\u00fcller, \u65e5\u672c \U0001f600"),
        ("<img src=x>", "<img src=x>"),
        ("x" * 500, "x" * 200),
        ("x" * 199 + "\n\n  y", "x" * 199 + " "),
    ],
)
def test_words_are_one_printable_line_of_two_hundred_characters(words: str, text: str) -> None:
    """H309: no control characters, and none that turn the text around them."""
    assert plain_text(words) == text


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        SECRET.upper(),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote_plus(SECRET).lower(),
        json.dumps(SECRET)[1:-1],
        "CANARY\nsecret/&amp;+%=\u00fc",
        "CANARY sec\u200bret/\x00&+%=\u00fc",
        SECRET.replace("/", "\\/"),
        "".join(f"&#{ord(char)};" if not char.isalnum() else char for char in SECRET),
        "".join(f"&#x{ord(char):X};" if not char.isalnum() else char for char in SECRET),
        "".join(f"\\u{ord(char):04x}" for char in SECRET),
        json.dumps(json.dumps(SECRET))[1:-1].replace('\\"', ""),
        quote(quote(SECRET)),
        quote_plus(quote_plus(SECRET, safe="")),
        "CANARY sec\n  ret/&+%=\u00fc",
        "CAN ARY secret/\\n&+%=\u00fc",
        unicodedata.normalize("NFD", SECRET),
        "\uff23ANARY secret/&+%=\u00dc",
    ],
)
def test_a_secret_is_left_out_in_every_form(form: str) -> None:
    """H309, I4: as it was sent, encoded once or twice, escaped, wrapped, in another case or Unicode form."""
    assert plain_text(f"before {form} after", [SECRET]) == "before \u2026 after"
    assert plain_text(f"client={form}&x", [SECRET]) == "client=\u2026&x"


def test_a_secret_is_left_out_before_the_text_is_cut() -> None:
    """H309: the cut leaves no half of one."""
    secret = "CANARY-" + "s" * 300

    assert plain_text("x" * 190 + secret, [secret]) == "x" * 190 + "\u2026"


def test_of_two_secrets_the_longer_is_left_out_first() -> None:
    """H309: one may begin with the other."""
    assert plain_text("CANARY-code-1234", ["CANARY-code", "CANARY-code-1234", ""]) == "\u2026"


def test_of_secrets_that_overlap_nothing_is_left() -> None:
    """H309: the end of one may be the beginning of another."""
    assert plain_text("x CANARY-code-1234-verifier y", ["CANARY-code-1234", "1234-verifier"]) == "x \u2026 y"


def test_a_short_secret_is_a_whole_word() -> None:
    """H309: else a client with the secret "a" would hear nothing."""
    assert plain_text("a man, a plan: A", ["a"]) == "\u2026 man, \u2026 plan: \u2026"


@pytest.mark.parametrize(
    "words", ["secret={}&x", "secret%3D{}%26x", "secret%253D{}%2526", "secret:\\n{}", "my_{}", "&quot;{}&quot;", "({})"]
)
@pytest.mark.parametrize("secret", ["h", "hunter2", "a+b", "4711"])
def test_a_short_secret_is_found_between_what_is_encoded(words: str, secret: str) -> None:
    """H309: the last digit of an encoded character is no letter of a word."""
    assert plain_text(words.format(secret), [secret]) == words.format("\u2026")


@pytest.mark.parametrize("value", ["CANARY+cre/dential==", "CANARYcredential="])
def test_a_basic_header_is_found_without_its_padding(value: str) -> None:
    """H309: its value is base64, which some write without the end."""
    assert plain_text(f"Basic {value.rstrip('=')}.", [value]) == "Basic \u2026."


def test_looking_for_secrets_is_cheap() -> None:
    """H309: whatever a provider sends within the size limit."""
    with within(5):
        plain_text("a" * 500_000, ["a" * 8000])
        plain_text(("a" * 7999 + "b") * 60, ["a" * 8000])
        plain_text("%25" * 150_000, ["%25" * 1000])
        plain_text("x " * 250_000, secrets_in_answer({"tokens": [f"token-{number}" for number in range(30_000)]}))


def test_what_looks_like_a_jwt_is_left_out() -> None:
    """H309: whichever server sent it."""
    assert plain_text(f"token={Idp.__name__} 'eyJhbGciOi.eyJzdWIi.c2ln' keyJar") == "token=Idp '\u2026' keyJar"
    assert plain_text("hint%3DeyJhbGciOi.eyJzdWIi.c2ln or hint_eyJhbGciOi%2EeyJzdWIi") == "hint%3D\u2026 or hint_\u2026"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "invalid_grant"}, ""),
        ({"error": "invalid_code"}, "invalid_code"),
        ({"error": "invalid_code", "error_description": SAID}, SAID),
        ({"error": {"message": SAID, "code": 400}}, SAID),
        ({"error": {"code": 400}}, ""),
        ({"error": ["x"], "message": SAID}, SAID),
        ({"error_description": ["x"], "msg": SAID}, SAID),
        ({"error_description": " ", "message": 5}, ""),
        ([SAID], ""),
        (None, ""),
    ],
)
def test_words_stand_in_one_of_several_members(body: Any, words: str) -> None:
    """H309: RFC 6749 knows ``error_description`` alone; an ``error`` that we have words for says nothing more."""
    assert words_in(body) == words


def test_tokens_in_an_answer_are_secrets() -> None:
    """H309: at any depth, and however deep."""
    deep: Any = "deep"
    for _ in range(5000):
        deep = {"x": [deep]}
    body = {"a": [{"refreshToken": "one"}], "tokens": {"b": ["two", 3]}, "token_type": "no", "c": "no", "token": deep}

    assert set(secrets_in_answer(body)) == {"one", "two", "deep"}


# -- on the wire ------------------------------------------------------------------------------------------------


class Quoting(Idp):
    """Refuses, and says what it was sent and what it would have sent."""

    honest = True

    def _token(self, request: Request) -> tuple[int, Any]:
        if self.honest:
            return super()._token(request)
        basic = request.headers.get("authorization", "")
        sent = [*request.form.values(), basic, *map(quote_plus, request.form.values()), SECRET, self.id_token()]
        body = {"access_token": "CANARY-at-unasked", "nested": [{"device_token": "CANARY-dt"}]}
        said = "\n".join(["Mallory", *sent, "CANARY-at-unasked CANARY-dt"])
        return 400, {**body, "error": "invalid_request", "error_description": said}


@pytest.fixture
def quoting() -> Iterator[Quoting]:
    """A provider that quotes what it is asked."""
    with Quoting() as provider:
        yield provider


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_what_a_provider_quotes_of_a_request_is_not_repeated(
    quoting: Quoting, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """H309, I4: neither of the exchange nor of a refresh; what is no secret is."""
    quoting.metadata = {"token_endpoint_auth_methods_supported": [method]}
    session = SessionManager(GenericOIDCProvider(CLIENT, SECRET, quoting.issuer), MemoryTokenStore())
    flow = AuthFlowManager(session.provider, session_manager=session)
    sign_in(flow, quoting)
    quoting.honest = False

    with pytest.raises(TokenRefreshError) as refresh:
        asyncio.run(session.refresh())
    with pytest.raises(AuthenticationError) as exchange:
        sign_in(flow, quoting)

    for error in (refresh.value, exchange.value):
        assert error.description.startswith("Mallory ")
        assert REDIRECT_URI in error.description or error is refresh.value
        told = f"{error.description} {caplog.text}"
        assert [secret for secret in quoting.secrets() if secret in told or quote_plus(secret) in told] == []
    assert "Mallory" in caplog.text


def test_the_words_of_a_token_endpoint_are_told(
    session: SessionManager, flow: AuthFlowManager, idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    """H309: in the error, the kernel's log and the widget; never in the message, which is ours."""
    widget = LoginWidget(session)
    idp.answers["/token"] = Answer({"error": "access_denied", "error_description": SAID}, status=403)
    with pytest.raises(AuthenticationError) as caught:
        sign_in(flow, idp)

    assert (caught.value.code, caught.value.description) == ("token_refused", SAID)
    assert SAID not in f"{caught.value}{caught.value!r}{caught.value.args}{caught.value.context}"
    assert [record.levelno for record in caplog.records if SAID in record.getMessage()] == [logging.WARNING]
    until(lambda: widget.error_detail == SAID)
    state = widget.get_state()
    assert {name for name, value in state.items() if SAID in str(value)} == {"error_detail"}


def test_the_words_of_an_authorization_response_are_told(
    flow: AuthFlowManager, idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    """H309: without what the request sent, were it quoted."""

    async def answer() -> None:
        request = await flow.begin(REDIRECT_URI)
        pending = flow._sign_ins._pending[request.state]
        said = f"{SAID} {request.state} {pending.nonce} {pending.verifier}"
        answer = {"error": "access_denied", "error_description": said, "state": request.state, "iss": idp.issuer}
        await flow.complete(answer)

    with pytest.raises(AuthenticationError) as caught:
        asyncio.run(answer())

    assert caught.value.description == f"{SAID} \u2026 \u2026 \u2026"
    assert f"(access_denied): {SAID}" in caplog.text
    assert flow.session.error is caught.value


def test_a_framework_s_plain_text_is_told(flow: AuthFlowManager, idp: Idp) -> None:
    """H309: django-oauth-toolkit answers so where the application has no algorithm; a page of HTML is no sentence."""
    said = b"ImproperlyConfigured at /o/token/\nThis application does not support signed tokens\n\nRequest Method: POST"
    for kind, words in [("text/plain; charset=utf-8", "does not support signed tokens"), ("text/html", "")]:
        idp.answers["/token"] = Answer(said, 500, {"Content-Type": kind})
        with pytest.raises(AuthenticationError) as caught:
            sign_in(flow, idp)

        assert caught.value.code == "provider_unavailable"
        assert words in caught.value.description
        assert bool(words) == bool(caught.value.description)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"access_token": "CANARY"}', 400), (b' [{"token": "CANARY"', 400), (b"access_token=CANARY", 201)],
)
def test_data_in_plain_text_is_not_told(flow: AuthFlowManager, idp: Idp, body: bytes, status: int) -> None:
    """H309, I4: whatever the media type says; of a success nothing is a message."""
    idp.answers["/token"] = Answer(body, status, {"Content-Type": "text/plain"})
    with pytest.raises(AuthenticationError) as caught:
        sign_in(flow, idp)

    assert caught.value.description == ""


def test_words_of_a_refresh_are_logged_once_and_reach_the_reader(
    signed_in: SessionManager, idp: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    """H309: a provider that is down for an hour fills no log; after a success its words are news again."""
    answer = idp.answers["/token"] = Answer({"error_description": SAID}, status=503)

    def fail() -> None:
        with pytest.raises(TokenRefreshError):
            asyncio.run(signed_in.refresh())

    for times in (1, 2):
        fail()
        fail()
        assert caplog.text.count(SAID) == times
        answer.times = 0
        asyncio.run(signed_in.refresh())
        answer.times = 99
    expire(signed_in)
    with pytest.raises(TokenExpiredError) as caught:
        _ = signed_in.access_token
    assert caught.value.description == SAID


def test_an_error_without_words_has_none(session: SessionManager) -> None:
    """``description`` is always text."""
    assert AuthenticationError("Ours.").description == ""
    assert AuthenticationError("Ours.", description=SAID)._render_traceback_() == [
        f"AuthenticationError [authentication_failed]: Ours.\nThe provider says: {SAID}"
    ]
    asyncio.run(session.save_tokens(OAuthTokenSet("CANARY-at")))
    assert LoginWidget(session).error_detail == ""


def test_long_words_wrap_in_the_widget() -> None:
    """H309: a word of 200 characters makes no cell wider."""
    rules = [rule.split("{", 1) for rule in LoginWidget._css.split("}") if "{" in rule]
    of_errors = [what for selectors, what in rules if ".pywry-auth-error" in selectors]

    assert any("overflow-wrap:anywhere" in what for what in of_errors)
    assert not any("nowrap" in what for what in of_errors)
