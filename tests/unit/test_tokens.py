"""Token values: silent when shown, real when used, and strict when they arrive."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import reprlib
import time
import traceback
from itertools import product
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from IPython.lib.pretty import pretty

from pywry_auth_nb import AccessToken, OAuthTokenSet, TokenError
from pywry_auth_nb.tokens import Secret, parse_token_response
from tests.support.cases import case

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "CANARY-" + "x" * 40
KINDS = pytest.mark.parametrize("kind", [Secret, AccessToken])

# -- Secret and AccessToken ---------------------------------------------------------------------------------------

SHOWN: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "ascii": ascii,
    "percent-r": lambda token: "%r" % token,  # noqa: UP031 - this is the case
    "percent-a": lambda token: "%a" % token,  # noqa: UP031 - this is the case
    "format-r": "{!r}".format,
    "f-string-r": lambda token: f"{token!r}",
    "f-string-eq": lambda token: f"{token=}",
    "list": lambda token: str([token]),
    "tuple": lambda token: str((token,)),
    "set": lambda token: str({token}),
    "dict-value": lambda token: str({"token": token}),
    "dict-key": lambda token: str({token: 1}),
    "nested": lambda token: str([{"a": ({token},)}]),
    "pprint": pprint.pformat,
    "pprint-narrow": lambda token: pprint.pformat({"a": [token, token]}, width=10),
    "reprlib": reprlib.repr,
    "ipython": pretty,
    "ipython-containers": lambda token: pretty({"a": [token, (token,)], token: {token}}),
    "exception": lambda token: repr(ValueError(token)),
    "copy": lambda token: repr(copy.deepcopy([token])),
    "pickle": lambda token: repr(pickle.loads(pickle.dumps(token))),  # noqa: S301 - made a moment ago
}


@KINDS
def test_a_secret_shows_nothing(kind: type[Secret]) -> None:
    """Wherever Python or IPython *show* a value, they show stars."""
    for name, show in SHOWN.items():
        with case(name):
            shown = show(kind(VALUE))

            assert "CANARY" not in shown
            assert "***" in shown


USED: dict[str, Callable[[Any], Any]] = {
    "str": str,
    "f-string": lambda token: f"{token}",
    "format": "{}".format,
    "percent-s": lambda token: "%s" % token,  # noqa: UP031 - this is the case
    "join": lambda token: "".join(iter([token, ""])),
    "concatenation": lambda token: "" + token,
    "encode": lambda token: token.encode().decode(),
    "json": lambda token: json.loads(json.dumps({"a": token}))["a"],
    "slice": lambda token: token[:],
    "httpx-header": lambda token: httpx.Headers({"Authorization": token})["authorization"],
    "httpx-form": lambda token: httpx.Request("POST", "https://h/", data={"a": token}).read().decode()[2:],
    "pickle": lambda token: pickle.loads(pickle.dumps(token)),  # noqa: S301 - made a moment ago
}


@KINDS
def test_a_secret_is_the_real_value_to_who_uses_it(kind: type[Secret]) -> None:
    """``str()``, f-strings, concatenation, JSON, headers and forms carry the value itself."""
    for name, use in USED.items():
        with case(name):
            assert use(kind(VALUE)) == VALUE


@KINDS
def test_a_secret_is_a_string(kind: type[Secret]) -> None:
    """It compares, hashes and looks up as the string that it is, and hides no attributes."""
    assert isinstance(kind(VALUE), str)
    assert kind(VALUE) == VALUE
    assert {VALUE: 1}[kind(VALUE)] == 1
    assert not hasattr(kind(VALUE), "__dict__")


def test_str_of_a_token_is_a_plain_string() -> None:
    """``str(token)`` is the way to an unmasked string: it has no masking left."""
    assert type(str(AccessToken(VALUE))) is str


def test_an_access_token_says_what_it_is() -> None:
    """As a cell's last line it shows that it is an access token, and no more."""
    assert repr(AccessToken(VALUE)) == pretty(AccessToken(VALUE)) == "<AccessToken ***>"
    assert repr(Secret(VALUE)) == "'***'"


# -- OAuthTokenSet ------------------------------------------------------------------------------------------------


def tokens(**changes: Any) -> OAuthTokenSet:
    """A complete token set."""
    given = {"access_token": "CANARY-at", "refresh_token": "CANARY-rt", "id_token": "CANARY-id", "expires_in": 3600}
    return OAuthTokenSet(**(given | changes))


SHOW = [repr, str, pprint.pformat, pretty, lambda value: repr([value])]

LOOK = [lambda value: value, dataclasses.asdict, dataclasses.astuple, vars]


def test_a_token_set_shows_no_token() -> None:
    """B6: Shown in any way, also taken apart, a token set does not tell its tokens."""
    for look, show in product(LOOK, SHOW):
        with case(look, show):
            assert "CANARY" not in show(look(tokens(raw={"access_token": "CANARY-at", "refresh_token": "CANARY-rt"})))


def test_a_token_set_says_what_matters() -> None:
    """Its repr tells scheme, remaining lifetime and whether it can be renewed."""
    assert repr(tokens(issued_at=time.time())) == "<OAuthTokenSet Bearer, expires in 3600 s, renewable>"
    assert repr(OAuthTokenSet("CANARY")) == "<OAuthTokenSet Bearer, expires in unknown>"


def test_a_traceback_with_locals_shows_no_token() -> None:
    """``capture_locals``, which ``%xmode Verbose`` and many loggers use, shows neither the set nor its tokens."""

    def fail() -> None:
        held, token = tokens(), tokens().access_token
        raise RuntimeError(len([held, token]))

    try:
        fail()
    except RuntimeError as error:
        report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    assert "<AccessToken ***>" in report
    assert "CANARY" not in report


def test_logging_the_set_shows_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """``log.info("%s", tokens)`` is safe."""
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r", tokens(), tokens())

    assert "CANARY" not in caplog.text


def test_a_token_set_is_frozen() -> None:
    """No attribute can be set or deleted."""
    for name in [field.name for field in dataclasses.fields(OAuthTokenSet)]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(tokens(), name, "x")
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(tokens(), name)


def test_plain_strings_become_masked_ones() -> None:
    """Whatever string type is passed, the attributes mask themselves."""
    assert isinstance(tokens().access_token, AccessToken)
    assert isinstance(tokens().refresh_token, Secret)
    assert isinstance(tokens().id_token, Secret)


@pytest.mark.parametrize("nothing", [None, ""])
def test_an_empty_token_is_no_token(nothing: str | None) -> None:
    """An empty refresh or ID token reads as None."""
    held = tokens(refresh_token=nothing, id_token=nothing)

    assert held.refresh_token is None
    assert held.id_token is None


def test_raw_holds_no_second_copy_of_the_tokens() -> None:
    """B18, H099: ``raw`` keeps the other members only, and leaves the caller's dict alone."""
    answer = {"access_token": "a", "refresh_token": "r", "id_token": "i", "scope": "openid", "tenant": 7}

    held = tokens(raw=answer)

    assert held.raw == {"scope": "openid", "tenant": 7}
    assert answer["access_token"] == "a"
    answer["tenant"] = 8
    assert held.raw["tenant"] == 7


AGES = [(3600, 0, False), (3600, 3599, False), (3600, 3601, True), (0, 0, True), (None, 10**9, False)]


def test_expiry_is_counted_from_the_request() -> None:
    """``expires_at`` is ``issued_at + expires_in``, without a margin; unknown stays unknown."""
    for expires_in, age, expired in AGES:
        with case(expires_in, age, expired):
            issued = time.time() - age
            held = tokens(expires_in=expires_in, issued_at=issued)

            assert held.expires_at == (None if expires_in is None else issued + expires_in)
            assert held.is_expired is expired


def test_issued_at_is_now_when_not_given() -> None:
    """A set made by hand begins now."""
    assert abs(tokens().issued_at - time.time()) < 1


def test_a_successor_keeps_what_the_answer_left_out() -> None:
    """H195, H199: refresh token, ID token and scope stay; what is about the access token is new."""
    old = tokens(scope="openid email", raw={"a": 1})
    new = OAuthTokenSet("CANARY-at2", issued_at=5.0, raw={"b": 2})

    both = new.succeed(old)

    assert (both.access_token, both.refresh_token, both.id_token) == ("CANARY-at2", "CANARY-rt", "CANARY-id")
    assert (both.scope, both.expires_in, both.issued_at, both.raw) == ("openid email", None, 5.0, {"b": 2})


def test_a_successor_keeps_what_the_answer_brought() -> None:
    """H194: a rotated refresh token, a new ID token and a narrowed scope replace the old ones."""
    new = tokens(access_token="A2", refresh_token="R2", id_token="I2", scope="openid")

    assert new.succeed(tokens(scope="openid email")) == new


def test_a_successor_leaves_both_alone() -> None:
    """``succeed`` returns a third set."""
    old, new = tokens(), OAuthTokenSet("CANARY-at2")

    new.succeed(old)

    assert new.refresh_token is None
    assert old.access_token == "CANARY-at"


# -- parse_token_response -----------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"access_token": "CANARY-at", "token_type": "Bearer"}


def parse(**members: Any) -> OAuthTokenSet:
    """Parse a good answer with some members changed; ``...`` removes one."""
    answer = {name: value for name, value in (GOOD | members).items() if value is not ...}
    return parse_token_response(answer, requested_scope="openid email", sent_at=1000.0)


NO_TOKEN = {
    "missing": ...,
    "empty": "",
    "null": None,
    "number": 5,
    "list": ["CANARY"],
    "object": {"a": "CANARY"},
    "bool": True,
    "space": " ",
    "whitespace": " \t ",
    "CRLF": "CANARY\r\nX-Evil: 1",
    "newline": "CANARY\n",
    "NUL": "CANARY\0",
    "non-ASCII": "CANARYé",
    "surrogate": "CANARY\ud800",
    "RTL": "CANARY\u202e",
    "DEL": "CANARY\x7f",
}


def test_an_invalid_access_token_is_refused() -> None:
    """H079: an access token is a non-empty string of printable ASCII (RFC 6749 appendix A.12)."""
    for name, value in NO_TOKEN.items():
        with case(name):
            with pytest.raises(TokenError) as caught:
                parse(access_token=value)

            assert caught.value.code == "token_response"
            assert "CANARY" not in repr(caught.value) + str(caught.value)


def test_a_missing_token_type_is_refused() -> None:
    """H080: ``token_type`` is required and is a string (RFC 6749 §5.1)."""
    for value in [..., "", None, 5, ["Bearer"], True]:
        with case(value):
            with pytest.raises(TokenError) as caught:
                parse(token_type=value)

            assert caught.value.code == "token_response"


def test_the_token_type_has_no_case() -> None:
    """H081: FAPI 2 token-type-case-insensitivity; we always say ``Bearer``."""
    for value in ["Bearer", "bearer", "BEARER", "bEaReR"]:
        with case(value):
            assert parse(token_type=value).token_type == "Bearer"


def test_an_unknown_token_type_is_refused() -> None:
    """H082: a client must not use a token whose type it does not understand (RFC 6749 §7.1)."""
    for value in ["mac", "N_A", "DPoP", "pop", "Bearer ", "Bearer,DPoP"]:
        with case(value):
            with pytest.raises(TokenError) as caught:
                parse(token_type=value)

            assert caught.value.code == "token_type"


LIFETIMES = {
    "H083-missing": (..., None),
    "H083-null": (None, None),
    "H084-string": ("3600", 3600),
    "H085-zero": (0, 0),
    "H086-float": (3600.7, 3600.7),
    "H087-clamped": (10**12, 365 * 86400),
    "H087-huge-integer-float": (1e300, 365 * 86400),
    "H088-short": (1, 1),
}


def test_a_lifetime_is_understood() -> None:
    """A15: H083 to H088: seconds, also as a string, at most a year; none at all is allowed."""
    for name, (value, expected) in LIFETIMES.items():
        with case(name):
            held = parse(expires_in=value)

            assert held.expires_in == expected
            assert held.expires_at == (None if expected is None else 1000.0 + expected)


NO_LIFETIME = {
    "H085-negative": -1,
    "H085-negative-string": "-3600",
    "H086-NaN": float("nan"),
    "H086-NaN-string": "NaN",
    "H086-Infinity": float("inf"),
    "H086-Infinity-string": "Infinity",
    "H086-overflow": 10**400,
    "H086-overflow-string": "1e309",
    "H086-true": True,
    "H086-false": False,
    "H086-word": "abc",
    "H086-empty": "",
    "H086-list": [],
    "H086-list-of-one": [3600],
    "H086-object": {},
}


def test_an_invalid_lifetime_is_refused() -> None:
    """A15, H085, H086: a negative, endless or meaningless lifetime is an error, not a guess."""
    for name, value in NO_LIFETIME.items():
        with case(name):
            with pytest.raises(TokenError) as caught:
                parse(expires_in=value)

            assert caught.value.code == "token_response"


def test_a_token_may_be_missing() -> None:
    """H089, H090: no refresh token and no ID token is an answer; null says the same."""
    for name, value in product(["refresh_token", "id_token"], [..., None]):
        with case(name, value):
            assert getattr(parse(**{name: value}), name) is None


def test_an_invalid_refresh_or_id_token_is_refused() -> None:
    """H090, H097, H196: a refresh or ID token that comes is a non-empty string of printable ASCII."""
    for name, value in product(["refresh_token", "id_token"], ["", 5, 0, False, [], {}, ["a"], "a\nb", "é"]):
        with case(name, value):
            with pytest.raises(TokenError) as caught:
                parse(**{name: value})

            assert caught.value.code == "token_response"


SCOPES = {
    "H091-missing": (..., "openid email"),
    "H091-null": (None, "openid email"),
    "H092-narrower": ("openid", "openid"),
    "H093-wider": ("openid email admin", "openid email admin"),
    "H093-empty": ("", "openid email"),
    "H093-twice": ("openid openid", "openid openid"),
}


def test_the_scope_is_what_was_granted() -> None:
    """H091 to H093: an omitted scope means the requested one; any other is taken as the provider says it."""
    for name, (value, expected) in SCOPES.items():
        with case(name):
            assert parse(scope=value).scope == expected


def test_a_scope_must_be_a_string() -> None:
    """H093: ``scope`` is a string, also where a wrong value happens to be empty."""
    for value in [["openid"], 5, True, {"a": 1}, [], 0, False, {}]:
        with case(value):
            with pytest.raises(TokenError) as caught:
                parse(scope=value)

            assert caught.value.code == "token_response"


def test_unknown_members_are_ignored() -> None:
    """H094: ten thousand unknown members are ignored (RFC 6749 §5.1)."""
    held = parse(**{f"x{number}": number for number in range(10_000)})

    assert held.access_token == "CANARY-at"
    assert len(held.raw) == 10_001


def test_raw_of_a_parsed_answer_has_no_tokens() -> None:
    """H099: what is kept of the answer holds none of its tokens."""
    held = parse(refresh_token="CANARY-rt", id_token="CANARY-id", tenant="x")

    assert held.raw == {"token_type": "Bearer", "tenant": "x"}


def test_the_answer_counts_from_when_it_was_asked_for() -> None:
    """H212: expiry is never late, however long the answer took."""
    assert parse(expires_in=60).expires_at == 1060.0
