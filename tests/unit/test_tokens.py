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
from tests.support.idp import b64

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


NESTED: dict[str, Any] = {
    "Globus": {
        "other_tokens": [{"access_token": "CANARY-o", "refresh_token": "CANARY-p", "resource_server": "transfer"}]
    },
    "Slack": {"authed_user": {"id": "U1", "access_token": "CANARY-o"}},
    "camel-case": {"data": {"accessToken": "CANARY-o"}},
    "list": {"tokens": ["CANARY-o", "CANARY-p"]},
    "JWT-in-a-list": {"extra": [["eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.CANARY"]]},
    "secret": {"device_secret": "CANARY-o"},
    "by-API": {"tokens": {"transfer": "CANARY-o", "groups": "CANARY-p"}},
    "lists-in-a-list": {"other_tokens": [["CANARY-o"], ["CANARY-p"]]},
    "value-in-a-token": {"access_tokens": [{"value": "CANARY-o", "ends": 5}], "token": {"data": {"v": "CANARY-p"}}},
    "value-of-a-token": {"token_value": "CANARY-o", "refresh_token_2": "CANARY-p", "accessTokenJwt": "CANARY-q"},
    "header": {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.CANARY"},
}


def test_raw_holds_no_token_at_any_depth() -> None:
    """H246, H099: tokens for other APIs are left out and remembered as there; what stands beside them stays."""
    for name, members in NESTED.items():
        with case(name):
            held = tokens(raw={**members, "tenant": 7})

            assert "CANARY" not in json.dumps(held.raw)
            assert held.raw["tenant"] == 7
            assert held.has_other_tokens
            assert OAuthTokenSet("CANARY-new").succeed(held).has_other_tokens, "they live on after a refresh"
    assert tokens(raw=NESTED["Globus"]).raw == {"other_tokens": [{"resource_server": "transfer"}]}


def test_a_copy_of_our_own_token_is_no_other_token() -> None:
    """H246: under another name it is left out as well, and there is nothing more to revoke."""
    copies = {"token": "CANARY-at", "bearer": "CANARY-at", "id": {"idToken": "CANARY-id"}}
    held = tokens(raw={**copies, "csrf_token": "", "token_type": "Bearer"})

    assert held.raw == {"id": {}, "token_type": "Bearer"}
    assert not held.has_other_tokens


def test_raw_has_a_greatest_depth() -> None:
    """What lies deeper than any real answer is left out, so that it can be stored."""
    deep: Any = {"access_token": "CANARY"}
    for _ in range(900):
        deep = [deep]

    assert len(json.dumps(tokens(raw={"deep": deep}).raw)) < 100


REFRESH_ENDS: dict[str, tuple[dict[str, Any], float | None]] = {
    "Keycloak": ({"refresh_expires_in": 1800}, 2800.0),
    "Microsoft": ({"refresh_token_expires_in": 86400}, 87400.0),
    "GitHub-form": ({"refresh_token_expires_in": "15811200"}, 15812200.0),
    "Keycloak-offline": ({"refresh_expires_in": 0}, None),
    "unknown": ({}, None),
    "unusable": ({"refresh_expires_in": "soon", "refresh_token_expires_in": -1}, None),
    "infinite": ({"refresh_expires_in": 10**400}, None),
    "first-unusable": ({"refresh_expires_in": "", "refresh_token_expires_in": 60}, 1060.0),
}


def test_the_end_of_a_refresh_token_is_known() -> None:
    """H243: counted from the request; 0 is no end."""
    for name, (raw, end) in REFRESH_ENDS.items():
        with case(name):
            assert tokens(raw=raw, issued_at=1000.0).refresh_expires_at == end


def test_a_refresh_token_that_stays_keeps_its_end() -> None:
    """H243: without a new one, and without a new lifetime, the time goes on from where it was."""
    old = tokens(raw={"refresh_expires_in": 1800}, issued_at=1000.0)

    assert OAuthTokenSet("A2", issued_at=1600.0).succeed(old).refresh_expires_at == 2800.0
    assert OAuthTokenSet("A2", issued_at=3000.0).succeed(old).refresh_expires_at is None, "it was accepted just now"


def test_a_rotated_refresh_token_lives_as_long_as_the_one_before() -> None:
    """H243: the last known lifetime begins anew, unless the response says another, or none (0)."""
    old = tokens(raw={"refresh_expires_in": 1800}, issued_at=1000.0)
    new = OAuthTokenSet("A2", refresh_token="R2", issued_at=1600.0)

    assert new.succeed(old).refresh_expires_at == 3400.0
    assert dataclasses.replace(new, raw={"refresh_expires_in": 60}).succeed(old).refresh_expires_at == 1660.0
    endless = dataclasses.replace(new, raw={"refresh_expires_in": 0}).succeed(old)
    assert endless.refresh_expires_at is None
    assert OAuthTokenSet("A3", issued_at=1700.0).succeed(endless).refresh_expires_at is None


def test_a_refresh_token_may_be_taken_over_by_itself() -> None:
    """H240: with its own end; the access token and its lifetime stay."""
    old = tokens(raw={"refresh_expires_in": 1800}, issued_at=1000.0)
    both = old.with_refresh_token_of(OAuthTokenSet("A2", refresh_token="R2", issued_at=1600.0))

    assert (both.access_token, both.refresh_token, both.issued_at) == ("CANARY-at", "R2", 1000.0)
    assert both.refresh_expires_at == 3400.0


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
    """H195, H197, H199: refresh token, ID token, scope and lifetime stay; what is about the access token is new."""
    old = tokens(scope="openid email", raw={"a": 1})
    new = OAuthTokenSet("CANARY-at2", issued_at=5.0, raw={"b": 2})

    both = new.succeed(old)

    assert (both.access_token, both.refresh_token, both.id_token) == ("CANARY-at2", "CANARY-rt", "CANARY-id")
    assert (both.scope, both.expires_in, both.issued_at, both.raw) == ("openid email", 3600, 5.0, {"b": 2})


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


def renewed(**members: Any) -> OAuthTokenSet:
    """Parse the same answer as that of a refresh."""
    answer = {name: value for name, value in (GOOD | members).items() if value is not ...}
    return parse_token_response(answer, requested_scope="", sent_at=1000.0, renewing=True)


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


def test_a_missing_token_type_is_bearer() -> None:
    """H241, H080: LinkedIn and Instagram name none; Apigee writes ``BearerToken``."""
    for value in [..., "", None, 5, ["Bearer"], True, "BearerToken", "Bearer ", " bearer\n"]:
        with case(value):
            assert parse(token_type=value).token_type == "Bearer"


def test_the_token_type_has_no_case() -> None:
    """H081: FAPI 2 token-type-case-insensitivity; we always say ``Bearer``."""
    for value in ["Bearer", "bearer", "BEARER", "bEaReR"]:
        with case(value):
            assert parse(token_type=value).token_type == "Bearer"


def test_another_token_type_is_refused() -> None:
    """H082: a token that is bound to a key, or is no access token, must not be used as a bearer token."""
    for value in ["mac", "MAC", "N_A", "DPoP", "dpop ", "pop", "Bearer,DPoP", "hawk"]:
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
    "H086-minus-infinity": -(10**400),
    "H086-true": True,
    "H086-false": False,
    "H086-word": "abc",
    "H086-empty": "",
    "H086-space": " ",
    "H086-list": [],
    "H086-list-of-one": [3600],
    "H086-object": {},
}


def test_an_unusable_lifetime_is_none() -> None:
    """A15, H241, H085, H086: a negative or meaningless lifetime says nothing; the access token is good all the same."""
    for name, value in NO_LIFETIME.items():
        with case(name):
            assert parse(expires_in=value).expires_in is None


OVERFLOWING = {"number": 10**400, "float": float("inf"), "string": "1e309", "Infinity-string": "Infinity"}


def test_a_lifetime_that_overflows_is_refused() -> None:
    """H086: of a sign-in it is an error; of a refresh it says nothing, for the old refresh token may be spent."""
    for name, value in OVERFLOWING.items():
        with case(name):
            with pytest.raises(TokenError) as caught:
                parse(expires_in=value)

            assert caught.value.code == "token_response"
            assert renewed(expires_in=value).expires_in is None


def jwt_of(claims: dict[str, Any], header: str = '{"alg":"HS256","typ":"at+jwt"}') -> str:
    """An access token in the form of a JWT, which we cannot verify."""
    return ".".join((b64(header.encode()), b64(json.dumps(claims).encode()), "c2ln"))


EXPIRY_HINTS: dict[str, tuple[Any, float, float | None]] = {
    "missing": (..., 1060, 60.0),
    "null": (None, 1060, 60.0),
    "unusable": ("soon", 1060, 60.0),
    "never": (-1, 1060, 60.0),
    "known-better": (30, 1060, 30.0),
    "over": (..., 900, 0.0),
    "far": (..., 10**10, 365 * 86400.0),
    "milliseconds": (..., 1_060_000_000_000, None),
}


def test_the_exp_of_a_jwt_is_a_hint() -> None:
    """H243: where no lifetime is known, an access token that is a JWT says when it ends, however it is signed."""
    for name, (expires_in, exp, expected) in EXPIRY_HINTS.items():
        with case(name):
            assert parse(access_token=jwt_of({"exp": exp}), expires_in=expires_in).expires_in == expected


def test_the_hint_is_by_the_provider_s_clock() -> None:
    """H243: a clock here that is ten minutes ahead makes no token look over."""
    answer = GOOD | {"access_token": jwt_of({"exp": 460})}

    assert parse_token_response(answer, requested_scope="", sent_at=1000.0, ahead=600.0).expires_in == 60.0


NO_JWTS = [
    "a",
    "a.b",
    "a.b.c",
    "..",
    ".e30.",
    "x.W10.y",
    "x.eyJleHAiOiJzb29uIn0.y",
    "a.b.c.d.e",
    "x." + "W" * 999 + ".y",
]


def test_what_is_no_jwt_gives_no_hint() -> None:
    """H243: any other token has an unknown end."""
    for token in NO_JWTS:
        with case(token):
            assert parse(access_token=token).expires_in is None


def test_a_token_may_be_missing() -> None:
    """H089, H090: no refresh token and no ID token is an answer; null says the same."""
    for name, value in product(["refresh_token", "id_token"], [..., None]):
        with case(name, value):
            assert getattr(parse(**{name: value}), name) is None


def test_an_unusable_refresh_or_id_token_is_none() -> None:
    """H241, H090, H196: an empty one, or one that is no text, is an absent one."""
    for name, value in product(["refresh_token", "id_token"], ["", " ", 5, 0, False, [], {}, ["a"]]):
        with case(name, value):
            assert getattr(parse(**{name: value}), name) is None


def test_a_malformed_refresh_or_id_token_is_refused() -> None:
    """H090, H097: one that could not be sent is an error at a sign-in, and absent at a refresh."""
    for name, value in product(
        ["refresh_token", "id_token"], ["CANARY\nb", "é", "\ud800", "a\0", "CANARY\r\n", "\x7f"]
    ):
        with case(name, value):
            with pytest.raises(TokenError) as caught:
                parse(**{name: value})

            assert caught.value.code == "token_response"
            assert "CANARY" not in repr(caught.value) + str(caught.value)
            assert getattr(renewed(**{name: value}), name) is None


def test_a_refresh_needs_an_access_token_alone() -> None:
    """H241: and one that cannot be used is refused there, too."""
    odd = dict.fromkeys(("refresh_token", "id_token", "expires_in", "scope", "token_type"), "\ud800")
    assert renewed(**odd).access_token == "CANARY-at"

    for value in NO_TOKEN.values():
        with case(value), pytest.raises(TokenError):
            renewed(access_token=value)


SCOPES = {
    "H091-missing": (..., "openid email"),
    "H091-null": (None, "openid email"),
    "H092-narrower": ("openid", "openid"),
    "H093-wider": ("openid email admin", "openid email admin"),
    "H093-empty": ("", "openid email"),
    "H093-twice": ("openid openid", "openid openid"),
    "H093-list": (["openid", "user:read"], "openid user:read"),
    "H093-list-of-lists-of-words": (["openid email", "x"], "openid email x"),
    "H093-newline": (" openid,profile\n", "openid,profile"),
    "H093-non-ASCII": ("größe", "größe"),
    **{f"H093-{value!r}": (value, "openid email") for value in (5, True, {"a": 1}, [], 0, False, {}, [5], [[]])},
}


def test_the_scope_is_what_was_granted() -> None:
    """H091 to H093: an omitted scope means the requested one; any other is taken as the provider says it."""
    for name, (value, expected) in SCOPES.items():
        with case(name):
            assert parse(scope=value).scope == expected


def test_a_malformed_scope_is_refused() -> None:
    """H093: one with control characters or half a character is an error at a sign-in, and absent at a refresh."""
    for value in ["openid\0", "\ud800", ["openid", "\x1b[31m"]]:
        with case(value):
            with pytest.raises(TokenError) as caught:
                parse(scope=value)

            assert caught.value.code == "token_response"
            assert renewed(scope=value).scope == ""


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
