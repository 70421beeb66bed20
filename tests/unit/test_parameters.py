"""What a sign-in sends beyond the standard's minimum: parameters, audience, prompt; and what must not be set."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pywry_auth_nb import (
    AuthFlowManager,
    ConfigurationError,
    GenericOIDCProvider,
    MemoryTokenStore,
    OAuthTokenSet,
    SessionManager,
    TokenError,
)
from pywry_auth_nb._sign_in import notebook
from pywry_auth_nb.providers import GitHubProvider, GoogleProvider, HubTokenSource, MicrosoftProvider
from tests.support.cases import case
from tests.support.clients import REDIRECT_URI, exchange
from tests.support.idp import CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pywry_auth_nb.providers import OAuthProvider
    from tests.support.idp import Idp

URLS = {"authorize_url": "https://idp.example/a", "token_url": "https://idp.example/t"}
PROTECTED = [
    *("state", "nonce", "redirect_uri", "client_id", "client_secret", "response_type", "response_mode"),
    *("request", "request_uri", "code_challenge", "code_challenge_method"),
]


def query(url: str) -> list[tuple[str, str]]:
    """The parameters of a URL."""
    return parse_qsl(urlsplit(str(url)).query, keep_blank_values=True, strict_parsing=True)


def asked(rp: OAuthProvider, **extra: str) -> dict[str, str]:
    """The parameters of an authorize URL, each of which must be there once."""
    found = query(rp.build_authorize_url(REDIRECT_URI, "state", None, extra))
    assert len(dict(found)) == len(found)
    return dict(found)


def custom(**options: Any) -> GenericOIDCProvider:
    """A provider whose addresses are known."""
    return GenericOIDCProvider(CLIENT, **URLS, **options)


def refused(make: Callable[[], object]) -> str:
    """Return the words with which arguments are refused."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.code == "configuration"
    assert "CANARY" not in str(caught.value)
    return str(caught.value)


# -- the authorize URL ------------------------------------------------------------------------------------------------


def test_each_argument_is_sent() -> None:
    """H260: audience, resource, prompt and login hint by name, others as ``authorize_params``; and nothing more."""
    rp = custom(
        audience="https://api.example",
        resource="https://files.example",
        prompt="login",
        login_hint="ada@example.org",
        authorize_params={"connection": "corporate"},
    )

    assert (
        asked(rp).items()
        >= {
            "audience": "https://api.example",
            "resource": "https://files.example",
            "prompt": "login",
            "login_hint": "ada@example.org",
            "connection": "corporate",
        }.items()
    )
    assert set(asked(custom())) == {"response_type", "client_id", "redirect_uri", "scope", "state"}


def test_numbers_and_lists_are_written_as_the_protocol_has_them() -> None:
    """H260: ``max_age=0`` is no missing value, a truth is lower-case, and a list repeats its parameter."""
    rp = custom(authorize_params={"max_age": 0, "include_granted_scopes": True, "acr_values": ["a b", "c"]})
    found = query(rp.build_authorize_url(REDIRECT_URI, "state"))

    assert {("max_age", "0"), ("include_granted_scopes", "true")} <= set(found)
    assert [value for name, value in found if name == "acr_values"] == ["a b", "c"]


class Corporate(GenericOIDCProvider):
    """A provider of which a class knows something."""

    authorize_params: Mapping[str, str] = {"hd": "example.org", "display": "page"}
    token_params: Mapping[str, str] = {"version": "1", "region": "eu"}


def test_parameters_of_the_class_are_kept_and_overridden() -> None:
    """H260: those of the object come on top; an empty value takes one away; other objects of the class see nothing."""
    rp = Corporate(CLIENT, **URLS, authorize_params={"display": "popup", "kc_idp_hint": "x"})

    assert asked(rp).items() >= {"hd": "example.org", "display": "popup", "kc_idp_hint": "x"}.items()
    assert "hd" not in asked(Corporate(CLIENT, **URLS, authorize_params={"hd": ""}))
    assert "hd" not in asked(Corporate(CLIENT, **URLS, authorize_params={"hd": None}))  # type: ignore[dict-item]
    assert asked(Corporate(CLIENT, **URLS))["display"] == "page"


def test_what_is_given_replaces_the_endpoints_own_query() -> None:
    """H260, H001: a parameter never stands there twice."""
    rp = GenericOIDCProvider(
        CLIENT, authorize_url="https://idp.example/a?audience=old&p=1", token_url=URLS["token_url"], audience="new"
    )

    assert asked(rp).items() >= {"audience": "new", "p": "1"}.items()


def test_what_ties_the_answer_to_the_request_cannot_be_set() -> None:
    """H260, H006: neither by the object nor by its class; the parameter is named, and nothing is sent."""
    for name in [*PROTECTED, "scope"]:
        with case(name):
            inherited = type("Evil", (GenericOIDCProvider,), {"authorize_params": {name: "CANARY"}})

            assert name in refused(lambda name=name: custom(authorize_params={name: "CANARY"}))
            assert name in refused(lambda kind=inherited: kind(CLIENT, **URLS))
            assert name in refused(lambda name=name: GoogleProvider(CLIENT, authorize_params={name: ""}))


def test_parameters_that_are_none_are_refused() -> None:
    """H260: what cannot be written into an address is an error at once, which names the parameter and not its value."""
    for wrong in [
        {"x": {"CANARY": 1}},
        {"x": ["CANARY", None, {}]},
        {"x": object()},
        {"": "CANARY"},
        {5: "x"},
        5,
        ["x"],
        "CANARY",
        "a=b&CANARY",
        '{"CANARY": ',
    ]:
        with case(wrong):
            said = refused(lambda wrong=wrong: custom(authorize_params=wrong))
            assert "token_params" in refused(lambda wrong=wrong: custom(token_params=wrong))

            assert "authorize_params" in said
            assert not isinstance(wrong, dict) or "x" not in wrong or "'x'" in said


CONSENT: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "listed": (["none", "consent"], {}, "consent"),
    "listed as text": ("login consent", {}, "consent"),
    "not listed": (["none", "login"], {}, None),
    "nothing said": (..., {}, None),
    "null": (None, {}, None),
    "nonsense": ({"consent": True}, {}, None),
    "another asked for": (["consent"], {"prompt": "select_account"}, "select_account"),
    "taken away": (["consent"], {"authorize_params": {"prompt": ""}}, None),
    "asked for though not listed": (["login"], {"prompt": "consent"}, "consent"),
    "without offline_access": (["consent"], {"scopes": ["openid"]}, None),
}


def test_consent_is_asked_for_where_the_provider_lists_it(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H260: a forced ``prompt=consent`` would stop users for whom an administrator has consented (Entra ID)."""
    for name, (listed, options, prompt) in CONSENT.items():
        with case(name):
            rp = fresh(**{"scopes": ["openid", "offline_access"]} | options)
            op.metadata = {"prompt_values_supported": listed}

            assert asked(rp).get("prompt") == prompt


def test_a_refresh_token_that_does_not_come_is_noted(
    client: Callable[..., GenericOIDCProvider], op: Idp, caplog: pytest.LogCaptureFixture
) -> None:
    """H260: the log says which prompt may be missing, only to those who asked for ``offline_access``."""
    op.token_extra = {"refresh_token": ...}
    exchange(client(), op)
    assert "offline_access" not in caplog.text

    exchange(client(scopes=["openid", "offline_access"]), op)
    assert "no refresh token came for offline_access; it may want prompt='consent'" in caplog.text


# -- token requests ---------------------------------------------------------------------------------------------------


def sent(op: Idp) -> list[tuple[str, str]]:
    """The fields of the last token request."""
    return parse_qsl(op.last("/token").body, keep_blank_values=True)


def test_resources_are_named_in_every_request(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H260: a list is a parameter that is repeated, at sign-in, code and refresh (RFC 8707 §2)."""
    apis = ["https://one.example/a,b", "https://two.example"]
    rp = client(resource=apis)
    url = rp.build_authorize_url(REDIRECT_URI, "state")
    tokens = exchange(rp, op)
    requests = [query(url), sent(op)]
    asyncio.run(rp.refresh_tokens(str(tokens.refresh_token)))
    requests.append(sent(op))

    assert [[value for name, value in each if name == "resource"] for each in requests] == [apis] * 3


def test_a_resource_of_the_class_is_named_to_the_token_endpoint(op: Idp, client: Callable[..., Any]) -> None:
    """H260: however it came into the authorize URL; ``token_params`` can say otherwise."""
    kind = type("Adfs", (GenericOIDCProvider,), {"authorize_params": {"resource": "urn:api"}})

    assert kind(CLIENT, **URLS).token_params == {"resource": "urn:api"}
    exchange(client(authorize_params={"resource": "urn:api"}, token_params={"resource": ""}), op)
    assert "resource" not in dict(sent(op))


def test_the_audience_is_for_the_authorize_url(client: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H260: Auth0 reads it there; who wants it in token requests says so."""
    exchange(client(audience="https://api.example"), op)
    assert "audience" not in dict(sent(op))

    exchange(client(audience="https://api.example", token_params={"audience": "https://api.example"}), op)
    assert dict(sent(op))["audience"] == "https://api.example"


def test_token_requests_have_parameters_of_their_own(op: Idp) -> None:
    """H260: of the class and of the object, with the code and with a refresh, and not in the authorize URL."""
    rp = Corporate(CLIENT, issuer_url=op.issuer, token_params={"region": "us"})
    tokens = exchange(rp, op)
    with_code = dict(sent(op))
    asyncio.run(rp.refresh_tokens(str(tokens.refresh_token)))

    for fields in (with_code, dict(sent(op))):
        assert fields.items() >= {"version": "1", "region": "us"}.items()
    assert "version" not in asked(rp)


def test_fields_of_a_token_request_cannot_be_set() -> None:
    """H260, H006: what proves the sign-in or the client stays ours."""
    for name in [*PROTECTED, "grant_type", "code", "code_verifier", "refresh_token", "client_assertion"]:
        with case(name):
            assert name in refused(lambda name=name: custom(token_params={name: "CANARY"}))


def test_fields_of_a_token_request_are_hidden() -> None:
    """H260: they may be secret, so no repr shows them."""
    rp = custom(token_params={"api_key": "CANARY", "keys": ["CANARY"]})

    assert "CANARY" not in repr(vars(rp)) + repr(rp.token_params)


# -- every provider ---------------------------------------------------------------------------------------------------


def test_every_provider_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """H260: Google's, Microsoft's and GitHub's, beside what their classes send."""
    options: dict[str, Any] = {"login_hint": "ada", "authorize_params": {"x": "1"}, "label": "Work"}
    providers: list[OAuthProvider] = [
        GoogleProvider(CLIENT, **options),
        MicrosoftProvider(CLIENT, **options),
        GitHubProvider(CLIENT, **options),
    ]
    for rp in providers:
        with case(type(rp).__name__):
            assert asked(rp).items() >= {"login_hint": "ada", "x": "1"}.items()
            assert rp.label == "Work"
    assert asked(providers[0]).items() >= {"access_type": "offline", "prompt": "consent"}.items()
    assert asked(GoogleProvider(CLIENT, prompt="select_account"))["prompt"] == "select_account"
    assert "prompt" not in asked(GoogleProvider(CLIENT, authorize_params={"prompt": ""}))
    assert "prompt" not in asked(MicrosoftProvider(CLIENT))


def test_the_arguments_of_pywry_keep_their_places() -> None:
    """The new ones are keyword-only, after those of ``pywry.auth``."""
    rp = GenericOIDCProvider(
        "id", "", "https://idp.example", ["openid"], "https://a.example", "https://t.example", "", ""
    )

    assert (rp.issuer_url, rp.authorize_url, rp.token_url) == (
        "https://idp.example", "https://a.example", "https://t.example"
    )  # fmt: skip
    with pytest.raises(TypeError):
        GenericOIDCProvider("id", "", "", None, "", "", "", "", True)  # type: ignore[misc]  # noqa: FBT003


# -- whose tokens -----------------------------------------------------------------------------------------------------


def test_an_identity_is_made_of_the_same_parts_in_every_version() -> None:
    """Sessions that are stored already are found again."""
    assert GenericOIDCProvider("me", issuer_url="https://idp.example/").identity == (
        '["https://idp.example/", "", "", "me", ""]'
    )
    assert GenericOIDCProvider("me", **URLS, prompt="login", label="Work").identity == (
        '["", "", "https://idp.example/t", "me", ""]'
    )
    assert GitHubProvider("me").identity == '["https://github.com/login/oauth/access_token", "me", ""]'
    assert GoogleProvider("me").identity == '["https://accounts.google.com", "", "", "me", ""]'


def test_what_tokens_are_for_is_part_of_the_identity() -> None:
    """H262: audience and resources, in any order and however they were given; not who is expected, or what is asked."""
    base = custom().identity
    one, two = custom(audience="one").identity, custom(audience="two").identity

    assert len({base, one, two, custom(resource="one").identity, custom(resource=["one", "two"]).identity}) == 5
    assert custom(authorize_params={"audience": "one"}).identity == one
    assert custom(token_params={"audience": "one"}).identity == one
    assert custom(resource=["b", "a"]).identity == custom(resource=("a", "b")).identity
    assert custom(audience="a b").identity != custom(audience="a", resource="b").identity
    assert custom(login_hint="ada", authorize_params={"x": "1"}).identity == base


def test_sessions_with_other_audiences_share_no_tokens(op: Idp) -> None:
    """H262: in one store, with one client: each sees only what it signed in for, also after a restart."""
    store = MemoryTokenStore()

    def session(audience: str) -> SessionManager:
        return SessionManager(GenericOIDCProvider(CLIENT, issuer_url=op.issuer, audience=audience), store)

    async def go() -> None:
        await session("one").save_tokens(OAuthTokenSet("CANARY-one", expires_in=3600))
        assert await session("two").initialize() is None
        await session("two").save_tokens(OAuthTokenSet("CANARY-two", expires_in=3600))
        again = session("one")
        await again.initialize()
        assert await again.get_access_token() == "CANARY-one"

    asyncio.run(go())


# -- one sign-in ------------------------------------------------------------------------------------------------------


def test_one_sign_in_can_ask_for_more(client: Callable[..., GenericOIDCProvider]) -> None:
    """H260: ``begin`` overrides the provider's own for this time."""
    flow = AuthFlowManager(client(prompt="login", login_hint="ada"))

    async def begun(**options: str) -> dict[str, str]:
        return dict(query((await flow.begin(REDIRECT_URI, **options)).url))  # type: ignore[arg-type]

    first = asyncio.run(begun(prompt="select_account", login_hint="grace"))
    second = asyncio.run(begun())
    assert (first["prompt"], first["login_hint"]) == ("select_account", "grace")
    assert (second["prompt"], second["login_hint"]) == ("login", "ada")


def test_login_asks_for_more_while_it_waits(
    client: Callable[..., GenericOIDCProvider], op: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H260: clicks during the wait send what ``login`` was told; a later click sends the provider's own again."""
    session = SessionManager(client())

    async def click() -> dict[str, str]:
        request = await session._sign_ins.begin(REDIRECT_URI)
        await session._sign_ins.complete(op.authorize(str(request.url)))
        return dict(query(request.url))

    clicked: list[dict[str, str]] = []
    monkeypatch.setattr(notebook, "has_front_end", lambda: True)
    monkeypatch.setattr(session, "_show", lambda: clicked.append(asyncio.run(click())))

    assert session.login(30, prompt="login", login_hint="grace").success
    assert (clicked[0]["prompt"], clicked[0]["login_hint"]) == ("login", "grace")
    assert not {"prompt", "login_hint"} & asyncio.run(click()).keys()


def test_a_native_sign_in_asks_for_more(client: Callable[..., GenericOIDCProvider]) -> None:
    """H260: ``run_native``, and ``authenticate`` where there is no notebook."""
    flow, seen = AuthFlowManager(client()), []

    def show(url: str, config: dict[str, Any]) -> None:
        seen.append(dict(query(url)))
        flow.cancel()

    for call in (flow.run_native, lambda *args, **kwargs: flow.authenticate(None, *args, **kwargs)):
        with pytest.raises(Exception, match="cancelled"):
            call(show, prompt="login", login_hint="grace")
    assert [(each["prompt"], each["login_hint"]) for each in seen] == [("login", "grace")] * 2


# -- the nonce --------------------------------------------------------------------------------------------------------


def signed_in(rp: GenericOIDCProvider, op: Idp) -> str:
    """Sign in up to the tokens; return the code of the refusal, or nothing."""
    try:
        exchange(rp, op)
    except TokenError as error:
        return error.code
    return ""


def test_a_missing_nonce_is_accepted_by_name(fresh: Callable[..., GenericOIDCProvider], op: Idp) -> None:
    """H264, H131: ``check_nonce=False`` is for providers that send none; a wrong one is refused all the same."""
    for nonce, expected in [
        (..., ""),
        (None, ""),
        ("other", "id_token_nonce"),
        ("", "id_token_nonce"),
        (5, "id_token_nonce"),
    ]:
        with case(nonce):
            rp = fresh(check_nonce=False)
            op.claims = {"nonce": nonce}

            assert signed_in(rp, op) == expected


def test_a_missing_nonce_names_the_way_out(rp: GenericOIDCProvider, op: Idp) -> None:
    """H264, H131: it is refused unless one says otherwise, and the error says how."""
    op.claims = {"nonce": ...}

    with pytest.raises(TokenError, match="check_nonce=False") as caught:
        exchange(rp, op)
    assert caught.value.code == "id_token_nonce"


# -- for people -------------------------------------------------------------------------------------------------------


LABELS = {
    "Our University": "Our University",
    "  two\nlines\t": "two lines",
    "\x1b[31mred\u202e": "[31mred",
    "<b>bold</b>": "<b>bold</b>",
    "x" * 200: "x" * 60,
    "": "idp.example",
    " \n ": "idp.example",
}


def test_a_label_is_one_line_of_plain_text() -> None:
    """H260: it stands in the widget, in reprs and in logs instead of the host."""
    for given, shown in LABELS.items():
        with case(given):
            rp = custom(label=given)

            assert rp.label == shown
            assert SessionManager(rp).__repr__().endswith(f" at {shown}>")


def test_a_hub_has_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called JupyterHub unless one says otherwise."""
    assert HubTokenSource("https://hub.example/hub/api", "CANARY", "ada").label == "JupyterHub"
    assert HubTokenSource("https://hub.example/hub/api", "CANARY", "ada", label="Science").label == "Science"
