"""No secret is seen where people look: in what objects show, in tracebacks, in notebooks, in what a kernel sends."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import pprint
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter
from IPython.lib.pretty import pretty

from pywry_auth_nb import (
    AuthFlowManager,
    AuthFlowTimeout,
    GenericOIDCProvider,
    LoginRequired,
    LoginWidget,
    MemoryTokenStore,
    PKCEChallenge,
    SessionManager,
    TokenError,
)
from tests.conftest import REDIRECT_URI
from tests.support.idp import CLIENT, Answer, Idp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
SECRET = "CANARY-client-secret"

# -- what objects show ------------------------------------------------------------------------------------------


def display(value: object) -> str:
    """Everything that IPython would send to a front end for a cell's last line."""
    formatter = DisplayFormatter()
    formatter.active_types = formatter.format_types
    return repr(formatter.format(value))


WAYS: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "ascii": ascii,
    "pprint": pprint.pformat,
    "in a list": lambda value: repr([value]),
    "in a dict": lambda value: pprint.pformat({"it": value}, width=1),
    "percent r": lambda value: "%r" % (value,),  # noqa: UP031 - as in logging
    "IPython pretty": pretty,
    "IPython pretty list": lambda value: pretty([value]),
    "IPython display": display,
    "IPython display list": lambda value: display([value]),
}
TEXT_WAYS: dict[str, Callable[[Any], str]] = {
    "str": str,
    "format": lambda value: format(value, ""),
    "f-string": lambda value: f"{value}",
    "print": lambda value: " ".join(map(str, (value,))),
}


@pytest.fixture
def provider(idp: Idp) -> GenericOIDCProvider:
    """A client with a secret."""
    return GenericOIDCProvider(CLIENT, SECRET, issuer_url=idp.issuer)


@pytest.fixture
def shown(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> dict[str, Any]:
    """One of everything, after a sign-in, with a second sign-in open and an error noted."""

    async def fill() -> dict[str, Any]:
        request = await flow.begin(REDIRECT_URI)
        pending = flow._sign_ins._pending[request.state]
        result = await flow.complete(idp.authorize(request.url))
        quoted = f"No: {session._engine.state.tokens.refresh_token}"  # type: ignore[union-attr]
        idp.answers["/token"] = Answer({"error": "x", "error_description": quoted}, status=500)
        with pytest.raises(TokenError):
            await session.refresh()
        opened = await flow.begin(REDIRECT_URI)
        idp.answers["/token"] = Answer({"error": "x", "error_description": "Ask Eve."}, status=500)
        with pytest.raises(TokenError):
            await flow.complete(idp.authorize((await flow.begin(REDIRECT_URI)).url))
        return {"request": opened, "pending": pending, "result": result}

    return {
        **asyncio.run(fill()),
        "session": session,
        "provider": session.provider,
        "flow": flow,
        "tokens": session._engine.state.tokens,
        "snapshot": session._engine.state,
        "store": session.token_store,
        "widget": LoginWidget(session),
        "widget state": LoginWidget(session).get_state(),
        "user": session.user,
        "error": session.error,
        "PKCE": PKCEChallenge.generate(),
        "HTTP client": session.provider._http,
        "key cache": session.provider._keys,  # type: ignore[attr-defined]
        "timeout": AuthFlowTimeout("Too late.", 1.0),
        "login required": LoginRequired("Nobody."),
    }


def secrets_of(flow: AuthFlowManager, idp: Idp, *pairs: PKCEChallenge) -> set[str]:
    """Everything that the wire has seen, and what is still to be sent."""
    held = [(state, str(pending.verifier), str(pending.nonce)) for state, pending in flow._sign_ins._pending.items()]
    return idp.secrets() | {secret for group in held for secret in group} | {str(pair.verifier) for pair in pairs}


def test_nothing_shows_a_secret(shown: dict[str, Any], flow: AuthFlowManager, idp: Idp) -> None:
    """T08: shown, formatted, printed or displayed, alone or in a container, none of our objects tells a secret."""
    secrets = secrets_of(flow, idp, shown["PKCE"])
    seen = {
        f"{name} by {way}": show(value) for name, value in shown.items() for way, show in (WAYS | TEXT_WAYS).items()
    }

    assert len(secrets) > 10
    assert [where for where, text in seen.items() if any(secret in text for secret in secrets)] == []


def test_a_bare_token_shows_that_it_is_one(session: SessionManager, flow: AuthFlowManager, idp: Idp) -> None:
    """As a value a token is real; as something that is shown it is not. So is each secret string of ours."""
    asyncio.run(begin_and_complete(flow, idp))
    tokens = session._engine.state.tokens
    assert tokens is not None
    values = [session.access_token, session.id_token, session.token_provider()]
    values += [tokens.access_token, tokens.refresh_token, tokens.id_token, SECRET]
    values[-1] = session.provider.client_secret
    for value in values:
        assert isinstance(value, str)
        assert value.startswith(("CANARY", "eyJ"))
        for show in WAYS.values():
            assert "***" in show(value)
            assert not set(re.findall("CANARY|eyJ", show(value)))


def test_the_url_that_is_opened_is_not_shown(flow: AuthFlowManager) -> None:
    """The authorize URL holds state and nonce, so it is a secret string too."""
    request = asyncio.run(flow.begin(REDIRECT_URI))
    for value in (request.url, request.state):
        for show in WAYS.values():
            assert request.state not in show(value)


async def begin_and_complete(flow: AuthFlowManager, idp: Idp) -> None:
    """Sign in."""
    await flow.complete(idp.authorize((await flow.begin(REDIRECT_URI)).url))


def test_a_session_has_no_json(shown: dict[str, Any]) -> None:
    """What holds secrets cannot be written as JSON by accident."""
    for name in ("session", "provider", "flow", "tokens", "snapshot", "result", "PKCE", "pending", "request"):
        with pytest.raises(TypeError):
            json.dumps(shown[name])


@pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_in_a_container_cannot_be_pickled(shown: dict[str, Any], copying: Any) -> None:
    """T38: it would carry the secrets to another process, a cluster or a file; the error says what to send instead."""
    inside = shown["session"] if copying is copy.copy else {"args": [shown["session"]]}
    with pytest.raises(TypeError, match=r"session\.handle\(\)"):
        copying(inside)


@pytest.mark.parametrize("copying", [pickle.dumps, copy.deepcopy])
@pytest.mark.parametrize("name", ["flow", "widget"])
def test_what_holds_a_session_cannot_be_pickled(shown: dict[str, Any], name: str, copying: Any) -> None:
    """T38: objects of ours that hold a session cannot be pickled either."""
    with pytest.raises((TypeError, NotImplementedError, pickle.PicklingError)):
        copying(shown[name])


def test_a_traceback_with_all_variables_shows_nothing(signed_in: SessionManager, idp: Idp) -> None:
    """As error reporters do it: every variable of every frame, of the error, its cause and its context."""
    idp.claims = {"iss": "https://evil.example"}
    with pytest.raises(TokenError) as caught:
        asyncio.run(signed_in.refresh())
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)

    text = "".join(report.format())
    assert "hop" in text
    assert not [secret for secret in idp.secrets() if secret in text]


# -- what IPython prints for an error ---------------------------------------------------------------------------

#: Runs cells in a real IPython whose provider hands out tokens and then says something wrong. Each cell reads secrets
#: inside calls only, so that what is printed of a frame is ours. argv: traceback mode, file for the secrets.
SHELL = """
import asyncio, json, socket, sys, threading, time, urllib.request
from pathlib import Path
import aiohttp, httpx, httpx2, requests
from IPython.core.interactiveshell import InteractiveShell
from pywry_auth_nb import *
from pywry_auth_nb.adapters import as_urllib3_pool
from tests.support.idp import Answer, Idp

idp = Idp().__enter__()
provider = GenericOIDCProvider("pywry", "CANARY-client-secret", issuer_url=idp.issuer)
session = SessionManager(provider)
flow = AuthFlowManager(provider, session_manager=session)

URI = "http://127.0.0.1:8888/pywry-auth/callback"

def opened(request):
    return json.load(urllib.request.urlopen(request.url))

def declined(request):
    params = opened(request)
    return {"state": params["state"], "iss": params["iss"], "error": "access_denied"}

def code(request):
    pending = flow._sign_ins._pending[request.state]
    return {"code": opened(request)["code"], "redirect_uri": pending.redirect_uri,
            "pkce_verifier": pending.verifier, "nonce": pending.nonce}

def refresh_token():
    idp.refresh_tokens["CANARY-rt"] = True
    return "CANARY-rt"

def over():
    return OAuthTokenSet("CANARY-at", refresh_token=refresh_token(), expires_in=10, issued_at=time.time() - 100)

def fresh():
    return OAuthTokenSet("CANARY-at", refresh_token=refresh_token(), expires_in=3600)

def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/"

def hangs_up():
    server = socket.create_server(("127.0.0.1", 0))
    def serve():
        while True:
            peer, _ = server.accept()
            if peer.recv(65536):  # a request, and not a look whether the port is open
                peer.close()
                return server.close()
    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"

def id_token():
    return idp.id_token(aud="somebody else")

def secret(before="", after=""):
    return before + "CANARY" + "A" * 37 + after  # also a good encryption key

class Shell(InteractiveShell):
    def init_history(self):
        super().init_history()
        self.history_manager.enabled = False

shell = Shell(user_ns={name: globals()[name] for name in
    ("provider", "session", "flow", "opened", "declined", "code", "refresh_token", "over", "id_token", "secret", "URI",
     "fresh", "closed", "hangs_up", "aiohttp", "httpx", "httpx2", "requests", "as_urllib3_pool",
     "FileTokenStore", "MicrosoftProvider", "OAuth2Settings", "RedisTokenStore", "get_token_store")})
shell.colors = "NoColor"
shell.run_line_magic("xmode", sys.argv[1])

SIGN_IN = "await flow.complete(opened(await flow.begin(URI)))"
wrong_id_token = {"claims": {"iss": "https://evil.example"}}
CELLS = [
    ("bad ID token", wrong_id_token, SIGN_IN, "TokenError"),
    ("other person", {"answers": {"/userinfo": Answer({"sub": "CANARY"})}}, SIGN_IN, "TokenError"),
    ("odd token type", {"token_extra": {"token_type": "DPoP"}}, SIGN_IN, "TokenError"),
    ("odd lifetime", {"token_extra": {"expires_in": 10**400}}, SIGN_IN, "TokenError"),
    ("declined", {}, "await flow.complete(declined(await flow.begin(URI)))", "AuthFlowCancelled"),
    ("exchange", wrong_id_token, "await provider.exchange_code(**code(await flow.begin(URI)))", "TokenError"),
    ("rejected", {"answers": {"/token": Answer({"error": "invalid_grant", "error_description": "Ask Eve."}, 400)}},
        "await provider.exchange_code(**code(await flow.begin(URI)))", "TokenError"),
    ("refresh grant", wrong_id_token, "await provider.refresh_tokens(refresh_token())", "TokenRefreshError"),
    ("cut off", {"answers": {"/token": Answer(b"{", headers={"Content-Length": "9"})}},
        "await provider.refresh_tokens(refresh_token())", "TokenRefreshError"),
    ("profile", {"answers": {"/userinfo": Answer({"error": "CANARY"}, 500)}},
        "await provider.get_userinfo(refresh_token())", "TokenError"),
    ("ID token", {}, "await provider.validate_id_token(id_token())", "TokenError"),
    ("refresh", wrong_id_token, "await session.save_tokens(over())\\nawait session.refresh()", "TokenRefreshError"),
    ("awaited", wrong_id_token, "await session.get_access_token()", "TokenExpiredError"),
    ("plain", wrong_id_token, "session.access_token", "TokenExpiredError"),
    ("used", wrong_id_token, "len(session.access_token)", "TokenExpiredError"),
    ("login", wrong_id_token, "session.login(timeout=1)", "LoginRequired"),
    ("waiting", {}, "await session.logout()\\nawait session._engine.wait_signed_in(0.05)", "AuthFlowTimeout"),
    ("setting", {}, "OAuth2Settings(client_secret=secret(), refresh_buffer_seconds=1)", "ConfigurationError"),
    ("no setting", {}, "OAuth2Settings(client_secret=secret(), colour=1)", "ConfigurationError"),
    ("tenant", {}, "MicrosoftProvider('id', secret(), 'bad tenant!')", "ConfigurationError"),
    ("encryption key", {}, "FileTokenStore('/nowhere', encryption_key=secret(after=',bad'))", "TokenStoreError"),
    ("redis path", {}, "RedisTokenStore(secret('redis://:', '@localhost/zz'))", "ConfigurationError"),
    ("redis option", {}, "RedisTokenStore(secret('redis://:', '@localhost/0?protocol=9'))", "ConfigurationError"),
    ("other store", {}, "get_token_store()\\nget_token_store('redis', redis_url=secret('redis://:', '@localhost'))",
        "ConfigurationError"),
    ("chained", {}, "try:\\n    session.access_token\\nexcept Exception as error:\\n"
        "    raise RuntimeError('mine') from error", "RuntimeError"),
    ("no ID token", {}, "await session.save_tokens(fresh())\\nsession.id_token", "TokenError"),
    ("closed port, https", {}, "requests.get('https' + closed()[4:], auth=session.auth)", "ConnectionError"),
]
ASKING = {
    "requests": ("requests.get(URL, auth=session.auth)", "ConnectionError", "ConnectionError"),
    "httpx": ("httpx.get(URL, auth=session.auth)", "ConnectError", "RemoteProtocolError"),
    "httpx2": ("httpx2.get(URL, auth=session.auth)", "ConnectError", "RemoteProtocolError"),
    "aiohttp": ("async with aiohttp.ClientSession(middlewares=(session.auth,)) as client:\\n    await client.post(URL)",
        "ClientConnectorError", "ServerDisconnectedError"),
    "urllib3": ("as_urllib3_pool(session, retries=False).request('GET', URL)", "NewConnectionError", "ProtocolError"),
}
for client, (cell, refused, broken) in ASKING.items():
    CELLS.append((f"closed port, {client}", {}, cell.replace("URL", "closed()"), refused))
    CELLS.append((f"hung up, {client}", {}, cell.replace("URL", "hangs_up()"), broken))
for name, wrong, cell, expected in CELLS:
    idp.claims, idp.answers, idp.token_extra = {}, {}, {}
    for attribute, value in wrong.items():
        setattr(idp, attribute, value)
    print(f"=== {name}: {expected}")
    result = shell.run_cell(cell, store_history=False)
    assert result.error_in_exec is not None, name
Path(sys.argv[2]).write_text(json.dumps(sorted(idp.secrets())))
"""


@pytest.mark.parametrize("mode", ["Plain", "Context", "Verbose", "Minimal", "Docs"])
def test_no_traceback_shows_a_secret(tmp_path: Path, mode: str) -> None:
    """Finding 0.10: in every traceback mode of IPython, also the one that prints all variables."""
    secrets = tmp_path / "secrets.json"
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SHELL, mode, secrets],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cells = re.split(r"^=== ", done.stdout, flags=re.MULTILINE)[1:]

    assert len(cells) == 37
    for cell in cells:
        name, _, rest = cell.partition(": ")
        expected, _, printed = rest.partition("\n")
        plainly = "Falling back to standard exception" in printed  # to stderr: IPython's Docs mode knows no chains
        assert plainly or expected in printed, f"{name} printed no {expected}: {printed}"
        assert ("The provider says: Ask Eve." in printed) is (name == "rejected"), f"{name} printed {printed}"
    known = json.loads(secrets.read_text())
    assert len(known) > 20
    assert {secret for secret in known if secret in done.stdout + done.stderr} == set()


# -- notebooks --------------------------------------------------------------------------------------------------

#: A notebook that signs in and shows whatever there is.
CELLS = [
    """
    import json, os, time, urllib.request
    from pywry_auth_nb import AuthFlowManager, GenericOIDCProvider, LoginWidget, SessionManager
    provider = GenericOIDCProvider("pywry", os.environ["CLIENT_SECRET"], issuer_url=os.environ["ISSUER"])
    session = SessionManager(provider)
    session
    """,
    "widget = LoginWidget(session)\nwidget",
    """
    flow = AuthFlowManager(provider, session_manager=session)
    URI = "http://127.0.0.1:8888/pywry-auth/callback"
    request = await flow.begin(URI)
    request
    """,
    "display(list(flow._sign_ins._pending.values()), flow, request, request.url, request.state)",
    """
    def opened(request):
        return json.load(urllib.request.urlopen(request.url))
    result = await flow.complete(opened(request))
    result
    """,
    "result.tokens",
    "session._engine.state.tokens.refresh_token",
    "session.access_token",
    "provider",
    "provider.client_secret",
    "display(session, widget, provider, flow, session.token_store, session.user, session._engine.state)",
    "[session, session.access_token, session.id_token, session._engine.state.tokens, result, session.login()]",
    "vars(session._engine.state.tokens)",
    "await session.refresh()",
    "%xmode Verbose",
    "await flow.complete(opened(request))",
    "await flow.complete({**opened(await flow.begin(URI)), 'iss': 'https://evil.example'})",
    "await flow.complete({**opened(await flow.begin(URI)), 'code': os.urandom(20).hex()})",
    "time.sleep(0.5)\nsession",
    "widget.status",
]


class Recorder(nbclient.NotebookClient):
    """Runs a notebook and keeps everything that the kernel broadcasts to its clients."""

    def process_message(self, msg: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep it."""
        self.__dict__.setdefault("heard", []).append(msg)
        return super().process_message(msg, *args, **kwargs)


@pytest.fixture(scope="module")
def run_notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, Any, list[Any], set[str]]]:
    """The notebook after its run: the file, its structure, the broadcast messages and the secrets."""
    path = tmp_path_factory.mktemp("notebook") / "signed_in.ipynb"
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(re.sub(r"^    ", "", cell, flags=re.MULTILINE).strip()) for cell in CELLS
    ]
    with Idp() as idp:
        client = Recorder(notebook, kernel_name="python3", timeout=60, allow_errors=True)
        client.execute(env={**os.environ, "ISSUER": idp.issuer, "CLIENT_SECRET": SECRET})
        nbformat.write(notebook, path)
        yield path.read_bytes(), notebook, client.heard, idp.secrets()


def test_the_notebook_did_sign_in(run_notebook: tuple[bytes, Any, list[Any], set[str]]) -> None:
    """The run did what the next tests are about: it signed in, showed things, and failed where it should."""
    _, notebook, _, secrets = run_notebook
    outputs = [[output.output_type for output in cell.outputs] for cell in notebook.cells]

    assert notebook.cells[-1].outputs[0].data["text/plain"] == "'signed_in'"
    assert [index for index, kinds in enumerate(outputs) if "error" in kinds] == [15, 16, 17]
    assert len(secrets) > 8


def test_the_widget_state_is_in_the_notebook(run_notebook: tuple[bytes, Any, list[Any], set[str]]) -> None:
    """Finding 0.3: batch runners save widget state, and so both widgets are there, and show who is signed in."""
    _, notebook, _, _ = run_notebook
    saved = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    shown = [model["state"] for model in saved if model["model_module"] == "anywidget"]

    assert [(state["status"], state["name"]) for state in shown] == [("signed_in", "Ada Lovelace")] * 2


def test_no_secret_is_in_the_notebook(run_notebook: tuple[bytes, Any, list[Any], set[str]]) -> None:
    """T07: token, refresh token, ID token, code, verifier, nonce, state and client secret are not in the file."""
    file, _, _, secrets = run_notebook

    assert {secret for secret in secrets if secret.encode() in file} == set()


def test_no_secret_is_broadcast(run_notebook: tuple[bytes, Any, list[Any], set[str]]) -> None:
    """T09: outputs and comm messages, which every client of the kernel gets, hold no secret."""
    _, _, heard, secrets = run_notebook
    text = json.dumps([message["content"] for message in heard])
    kinds = {message["msg_type"] for message in heard}

    assert {"comm_open", "comm_msg", "execute_result", "error"} <= kinds
    assert {secret for secret in secrets if secret in text} == set()


def test_logging_in_a_batch_run_needs_no_person(run_notebook: tuple[bytes, Any, list[Any], set[str]]) -> None:
    """Where a session is there already, ``login()`` returns it, also without a front end."""
    _, notebook, _, _ = run_notebook

    assert "<AuthFlowResult signed in>" in notebook.cells[11].outputs[0].data["text/plain"]


def test_a_store_says_how_many_and_not_what(signed_in: SessionManager) -> None:
    """The memory store shows how much it keeps."""
    assert isinstance(signed_in.token_store, MemoryTokenStore)
    assert repr(signed_in.token_store) == "<MemoryTokenStore, 1 kept>"
