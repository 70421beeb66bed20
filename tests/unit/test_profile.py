"""What the widget shows beside its traits: mail, picture, scopes, store and the address to register."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
import segno

from pywry_auth_nb import AuthFlowManager, MemoryTokenStore, OAuthTokenSet, SessionManager
from pywry_auth_nb._io.http import HttpClient
from pywry_auth_nb._io.loop import run
from pywry_auth_nb._sign_in import avatar, channel
from pywry_auth_nb._sign_in.qr import qr_code
from pywry_auth_nb._wire import protocol
from tests.conftest import REDIRECT_URI, sign_in
from tests.support.idp import Answer, Idp
from tests.support.waiting import until

if TYPE_CHECKING:
    from pywry_auth_nb import GenericOIDCProvider

STATIC = Path(__file__).parents[2] / "pywry_auth_nb" / "static"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
DATA_URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def details(session: SessionManager) -> dict[str, Any]:
    """What the widget of a session shows."""
    return session._sign_ins.profile.details()


def arrive(session: SessionManager, **claims: Any) -> None:
    """Sign a user in, with these claims."""
    asyncio.run(session._engine.sign_in(OAuthTokenSet("CANARY-at"), {"sub": "1", **claims}))


def picture(idp: Idp, body: bytes = PNG, media_type: str = "image/png", status: int = 200) -> str:
    """Let the provider serve a picture, and return its address."""
    idp.answers["/picture"] = Answer(body=body, status=status, headers={"Content-Type": media_type})
    return f"{idp.issuer}/picture"


def without_picture(session: SessionManager, idp: Idp) -> bool:
    """Whether the picture has been asked for, and none is shown."""
    assert details(session)["avatar"] == ""
    until(lambda: idp.requests_to("/picture") > 0 and not session._engine.is_doing("fetch the picture"))
    return details(session)["avatar"] == ""


# -- the details ------------------------------------------------------------------------------------------------


def test_a_signed_out_session_has_no_details(session: SessionManager) -> None:
    """Without a user there is the store alone."""
    nothing = {"email": "", "avatar": "", "scopes": [], "advice": "", "elsewhere": False, "redirect_uri": ""}

    assert details(session) == {**nothing, "store": "this kernel's memory"}


def test_details_name_account_and_scopes(session: SessionManager) -> None:
    """After a sign-in they have the mail address and what was granted."""
    tokens = OAuthTokenSet("CANARY-at", scope="openid drive")
    asyncio.run(session._engine.sign_in(tokens, {"sub": "1", "email": "ada@example.org"}))
    shown = details(session)

    assert (shown["email"], shown["scopes"], shown["elsewhere"]) == ("ada@example.org", ["openid", "drive"], False)


@pytest.mark.parametrize(("scope", "advised"), [("openid", True), ("openid offline_access", False), ("drive", False)])
def test_details_say_how_to_renew(session: SessionManager, scope: str, advised: bool) -> None:
    """OpenID Connect has a scope for that, unless it was granted."""
    asyncio.run(session._engine.sign_in(OAuthTokenSet("CANARY-at", scope=scope), {"sub": "1"}))

    assert ("offline_access" in details(session)["advice"]) is advised


@pytest.mark.parametrize("email", [None, 7, ["a@b"], "\n"])
def test_an_odd_mail_address_is_none(session: SessionManager, email: Any) -> None:
    """A claim that is no text is left out."""
    arrive(session, email=email)

    assert details(session)["email"] == ""


def test_a_mail_address_is_short_plain_text(session: SessionManager) -> None:
    """It has no control and direction characters, and at most 100 others."""
    arrive(session, email="\u202ea<b>\x00" + "x" * 500)

    assert details(session)["email"] == "a<b>" + "x" * 96


def test_a_sign_in_of_another_kernel_is_named(provider: GenericOIDCProvider, idp: Idp) -> None:
    """What was found in the store was signed in elsewhere, until the user signs in here."""
    store = MemoryTokenStore()
    sign_in(AuthFlowManager(provider, store), idp)
    session = SessionManager(provider, store)
    asyncio.run(session.initialize())
    assert details(session)["elsewhere"] is True
    sign_in(AuthFlowManager(provider, session_manager=session), idp)

    assert details(session)["elsewhere"] is False


def test_the_address_to_register_is_that_of_the_open_sign_in(flow: AuthFlowManager, session: SessionManager) -> None:
    """While a sign-in is open, its redirect URI is known."""
    asyncio.run(flow.begin(REDIRECT_URI))

    assert details(session)["redirect_uri"] == REDIRECT_URI


def test_details_hold_no_secret(signed_in: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """T09: neither a token nor what an open sign-in keeps is among them."""
    asyncio.run(flow.begin(REDIRECT_URI))
    said = json.dumps(details(signed_in))

    assert {secret for secret in idp.secrets() if secret in said} == set()


def test_a_page_asks_for_details_over_the_control_channel(signed_in: SessionManager) -> None:
    """The request is answered for the key of the link; without it, there is no session."""
    channel._lead_to(signed_in._sign_ins, "a-key")
    request = {"protocol": protocol.PROTOCOL, "flow": "a-key"}

    reply = asyncio.run(channel._answer(protocol.DETAILS, request))
    assert (reply["status"], reply["details"]) == ("ok", details(signed_in))
    reply = asyncio.run(channel._answer(protocol.DETAILS, {**request, "flow": "another"}))
    assert (reply["status"], reply["code"]) == ("error", "no_session")


# -- the picture ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", ["picture", "avatar_url"])
def test_a_picture_is_fetched_once(session: SessionManager, idp: Idp, claim: str) -> None:
    """The kernel fetches it without credentials, and every widget gets it as a data URI."""
    arrive(session, **{claim: picture(idp)})
    assert details(session)["avatar"] == ""
    until(lambda: details(session)["avatar"] == DATA_URI)

    assert idp.requests_to("/picture") == 1
    assert "authorization" not in idp.last("/picture").headers
    assert "image/png" in idp.last("/picture").headers["accept"]


def test_a_widget_is_told_when_the_picture_has_come(session: SessionManager, idp: Idp) -> None:
    """Mirrors of the session are called once more."""
    told: list[str] = []

    class Mirror:
        def show(self) -> None:
            told.append(details(session)["avatar"])

    mirror = Mirror()
    session._engine.notifier.attach(mirror.show)
    arrive(session, picture=picture(idp))

    until(lambda: DATA_URI in told)


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"<svg onload='alert(1)'/>", "image/svg+xml", 200),
        (b"<script>alert(1)</script>", "image/png", 200),
        (PNG, "text/html", 200),
        (PNG, "image/png", 404),
        (PNG, "image/png", 302),
        (PNG + bytes(avatar.MAX_BYTES), "image/png", 200),
        (b"", "image/png", 200),
    ],
    ids=["svg", "no picture", "html", "404", "redirect", "too large", "empty"],
)
def test_what_is_no_safe_picture_is_not_shown(
    session: SessionManager, idp: Idp, body: bytes, media_type: str, status: int
) -> None:
    """Then there are initials, and nothing is said of it."""
    arrive(session, picture=picture(idp, body, media_type, status))

    assert without_picture(session, idp)
    assert session.error is None


@pytest.mark.parametrize(
    ("media_type", "body"),
    [("image/jpeg", b"\xff\xd8\xff\xe0"), ("image/gif", b"GIF89a"), ("image/webp", b"RIFF\x0a\x00\x00\x00WEBPVP8 ")],
)
def test_other_kinds_of_pictures(media_type: str, body: bytes) -> None:
    """JPEG, GIF and WebP are pictures as well."""
    assert avatar.as_data_uri(media_type, body).startswith(f"data:{media_type};base64,")


@pytest.mark.parametrize(
    "url", ["http://example.org/ada.png", "file:///etc/passwd", "data:image/png;base64,AAAA", "//x/ada.png", "", 7]
)
def test_other_addresses_are_not_asked(session: SessionManager, monkeypatch: pytest.MonkeyPatch, url: Any) -> None:
    """Only https is, and http on this machine for a provider that is there itself."""
    asked: list[str] = []

    async def download(_: HttpClient, url: str, **__: Any) -> tuple[str, bytes]:
        asked.append(url)
        return "image/png", PNG

    monkeypatch.setattr(HttpClient, "download", download)
    arrive(session, picture=url)
    assert details(session)["avatar"] == ""
    arrive(session, picture="https://example.org/ada.png")  # something to wait for
    until(lambda: details(session)["avatar"] == DATA_URI)

    assert asked == ["https://example.org/ada.png"]


OUT_THERE, INTERNAL, HERE = "login.example.org", "keycloak", "127.0.0.1"


@pytest.mark.parametrize(
    ("url", "providers"),
    [
        ("https://cdn.example.org/ada.png", {OUT_THERE, INTERNAL, HERE}),
        ("https://127.0.0.1/ada.png", {INTERNAL, HERE}),
        ("https://127.1/ada.png", {INTERNAL, HERE}),
        ("https://[::1]/ada.png", {INTERNAL, HERE}),
        ("https://169.254.169.254/latest", {INTERNAL, HERE}),
        ("https://intranet:8443/ada.png", {INTERNAL, HERE}),
        ("http://127.0.0.1:8888/api", {HERE}),
        ("http://cdn.example.org/ada.png", set()),
        ("http://intranet/ada.png", set()),
    ],
)
def test_a_provider_has_no_machine_asked_that_only_the_kernel_reaches(
    session: SessionManager, monkeypatch: pytest.MonkeyPatch, url: str, providers: set[str]
) -> None:
    """A picture on an internal host is for a provider that is on one, and plain http for one on this machine."""
    arrive(session, picture=url)
    asked = set()
    for host in (OUT_THERE, INTERNAL, HERE):
        monkeypatch.setattr(session.provider, "issuer_url", f"https://{host}")
        asked |= {host} if session._sign_ins.profile._avatar._wanted() else set()

    assert asked == providers


def test_a_provider_at_an_unknown_host_is_out_there() -> None:
    """Where no address of the provider is known, internal hosts are not asked."""
    assert not avatar.may_ask("https://intranet/ada.png", "")
    assert avatar.may_ask("https://cdn.example.org/ada.png", "")


def test_a_picture_is_gone_with_its_user(session: SessionManager, idp: Idp) -> None:
    """The next user is not shown with the picture of the one before."""
    arrive(session, picture=picture(idp))
    until(lambda: details(session)["avatar"] == DATA_URI)
    arrive(session, sub="2")

    assert details(session)["avatar"] == ""


def test_the_picture_of_the_next_user_overtakes(session: SessionManager, idp: Idp) -> None:
    """Where the user changes while a picture is on its way, it is not shown as the other's."""
    answer = Answer(body=PNG, headers={"Content-Type": "image/png"}, delay=0.3)
    idp.answers["/first"], idp.answers["/second"] = answer, Answer(body=PNG + b"2", headers=answer.headers)
    arrive(session, picture=f"{idp.issuer}/first")
    assert details(session)["avatar"] == ""
    until(lambda: idp.requests_to("/first") == 1)
    arrive(session, sub="2", picture=f"{idp.issuer}/second")
    assert details(session)["avatar"] == ""

    until(lambda: details(session)["avatar"] != "")
    assert details(session)["avatar"] != DATA_URI


def test_nothing_waits_for_the_picture(session: SessionManager, idp: Idp) -> None:
    """A picture that does not come holds up neither tokens nor details."""
    idp.answers["/slow"] = Answer(body=PNG, delay=4)
    arrive(session, picture=f"{idp.issuer}/slow")
    details(session)
    until(lambda: idp.requests_to("/slow") == 1)

    assert session.access_token == "CANARY-at"
    assert details(session)["avatar"] == ""


# -- QR codes ---------------------------------------------------------------------------------------------------


def test_a_qr_code_is_a_picture_of_its_modules() -> None:
    """It is the code that the library makes, on white, with a margin, in whatever size its element has."""
    text = "https://contoso.com/device?user_code=WDJB-MJHT"
    head, _, svg = qr_code(text).partition(",")
    drawn = ET.fromstring(unquote(svg))  # noqa: S314 - our own
    size = len(segno.make_qr(text, error="m").matrix) + 8
    modules = re.findall(r"h(\d+)", drawn[-1].attrib["d"])

    assert head == "data:image/svg+xml;charset=utf-8"
    assert drawn.attrib["viewBox"] == f"0 0 {size} {size}"
    assert "width" not in drawn.attrib
    assert drawn[0].attrib["fill"] == "#fff"
    assert sum(map(int, modules)) == sum(map(sum, segno.make_qr(text, error="m").matrix))


@pytest.mark.parametrize("text", ["", "x" * 1001])
def test_a_text_that_makes_no_qr_code(text: str) -> None:
    """The page then shows the code without one."""
    assert qr_code(text) == ""


def test_a_page_gets_picture_and_panel_with_the_code(session: SessionManager, idp: Idp) -> None:
    """The answer to ``start`` has what the page shows, and the module that shows it; the device code stays here."""
    channel._lead_to(session._sign_ins, "a-key")
    request = {"protocol": protocol.PROTOCOL, "flow": "a-key", "way": "device"}
    reply = run(channel._answer(protocol.START, request), 10)
    session._sign_ins.cancel()

    assert reply["qr"] == qr_code(reply["verification_uri_complete"])
    assert reply["panel"] == (STATIC / "panel.js").read_text(encoding="utf-8")
    assert "device_code" not in reply


def test_a_page_gets_no_picture_for_an_address_to_open(session: SessionManager) -> None:
    """The other way has the panel alone."""
    channel._lead_to(session._sign_ins, "a-key")
    request = {"protocol": protocol.PROTOCOL, "flow": "a-key", "way": "loopback"}
    reply = run(channel._answer(protocol.START, request), 10)
    session._sign_ins.cancel()

    assert reply["qr"] == ""
    assert reply["panel"]
