"""Files whose tokens are always fresh, and the environment of a kernel that serves them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb import AuthFlowManager, ConfigurationError, MemoryTokenStore, SessionManager
from pywry_auth_nb._io.loop import run
from pywry_auth_nb.exits import folder
from tests.conftest import sign_in
from tests.support.aging import expire
from tests.support.cases import case
from tests.support.waiting import until

if TYPE_CHECKING:
    from pywry_auth_nb import OAuthTokenSet
    from tests.support.idp import Idp


def test_a_file_has_the_token_and_follows_it(signed_in: SessionManager, tmp_path: Path) -> None:
    """A file is there when `serve` returns, and is replaced when the token is."""
    path = tmp_path / "deep" / "token"
    with signed_in.serve(files=[path]) as exits:
        assert exits.files == [path]
        assert path.read_text() == signed_in.access_token
        assert path.stat().st_mode & 0o777 == 0o600
        inode = path.stat().st_ino

        asyncio.run(signed_in.refresh())

        until(lambda: path.read_text() == signed_in.access_token)
        assert path.stat().st_ino != inode, "it was replaced whole"

    assert not path.exists()
    assert path.parent.exists()


def test_a_file_may_have_the_id_token(signed_in: SessionManager, tmp_path: Path) -> None:
    """As Kubernetes and many others want it."""
    paths = {tmp_path / "id": "id_token", str(tmp_path / "access"): "access_token"}
    with signed_in.serve(files=paths):  # type: ignore[arg-type]
        tokens = signed_in._engine.state.tokens
        assert tokens is not None
        assert (tmp_path / "id").read_text() == tokens.id_token
        assert (tmp_path / "access").read_text() == tokens.access_token


def test_a_token_that_ends_is_renewed_for_its_file(signed_in: SessionManager, tmp_path: Path, idp: Idp) -> None:
    """Also if no program reads the session, and nothing is told: the keeper looks before the token ends."""
    old = signed_in.access_token
    with signed_in.serve(files=[tmp_path / "token"]) as exits:
        expire(signed_in)
        exits.keeper.look()

        until(lambda: (tmp_path / "token").read_text() not in ("", old))
        assert (tmp_path / "token").read_text() == signed_in.access_token
    assert idp.requests_to("/token") == 2


def test_there_is_no_file_while_there_is_no_token(signed_in: SessionManager, tmp_path: Path, idp: Idp) -> None:
    """When the sign-in has ended, its last token is not left behind; after a new sign-in the file is back."""
    path = tmp_path / "token"
    with signed_in.serve(files=[path]) as exits:
        idp.refresh_tokens.clear()
        expire(signed_in)
        exits.keeper.look()
        until(lambda: not path.exists())
        assert signed_in.status == "reauth_required"
        assert exits.open

        sign_in(AuthFlowManager(signed_in.provider, session_manager=signed_in), idp)

        until(lambda: path.exists() and path.read_text() == signed_in.access_token)


def with_old_id_token(session: SessionManager, idp: Idp) -> str:
    """Give the session an ID token that has expired, with an access token that has not; return it."""
    engine = session._engine
    tokens = engine.state.tokens
    assert tokens is not None
    old = idp.id_token(iat=1_000_000_000, exp=1_000_000_300)
    put_tokens(session, replace(tokens, id_token=old, issued_at=time.time() - 100))
    return old


def put_tokens(session: SessionManager, tokens: OAuthTokenSet) -> None:
    """Make these the session's tokens, here and in its store."""
    engine = session._engine
    run(session.token_store.update(session.store_key, lambda there: replace(there, tokens=tokens)), 10)
    engine.state = replace(engine.state, record=replace(engine.state.record, tokens=tokens))
    engine._note_fresh()


def test_an_id_token_that_ends_before_the_access_token(signed_in: SessionManager, tmp_path: Path, idp: Idp) -> None:
    """It is renewed with a refresh."""
    old = with_old_id_token(signed_in, idp)
    with signed_in.serve(files={tmp_path / "id": "id_token"}):
        assert (tmp_path / "id").read_text() not in ("", old)
    assert idp.requests_to("/token") == 2


def test_a_provider_that_renews_no_id_tokens(signed_in: SessionManager, tmp_path: Path, idp: Idp) -> None:
    """Then there is none, which `serve` says; the provider is not asked again and again."""
    with_old_id_token(signed_in, idp)
    idp.token_extra["id_token"] = ...
    for _ in range(3):
        with pytest.raises(ConfigurationError, match="ID token has expired"):
            signed_in.serve(files={tmp_path / "id": "id_token"})
    assert idp.requests_to("/token") == 2


def test_a_provider_without_id_tokens(flow: AuthFlowManager, tmp_path: Path, idp: Idp) -> None:
    """`serve` says what is missing."""
    flow.provider.scopes = ["profile"]
    sign_in(flow, idp)
    tokens = flow.session._engine.state.tokens
    assert tokens is not None
    put_tokens(flow.session, replace(tokens, id_token=None))
    with pytest.raises(ConfigurationError, match="Add openid to the scopes") as caught:
        flow.session.serve(files={tmp_path / "id": "id_token"})
    assert caught.value.code == "preset_unavailable"
    assert not (tmp_path / "id").exists()


def test_a_file_of_the_user_is_not_replaced(signed_in: SessionManager, tmp_path: Path) -> None:
    """A token that is there already is the user's own; so is a link."""
    path, link = tmp_path / "mine", tmp_path / "link"
    path.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    for each in (path, link, tmp_path):
        with case(each), pytest.raises(ConfigurationError, match="exists already") as caught:
            signed_in.serve(files=[each])
        assert caught.value.code == "preset_unavailable"
    assert path.read_text() == "mine"


def test_a_path_that_cannot_be(signed_in: SessionManager, tmp_path: Path) -> None:
    """The error names the path."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "token", "\0", 7):
        with case(path), pytest.raises(ConfigurationError) as caught:
            signed_in.serve(files=[path])  # type: ignore[list-item]
        assert caught.value.code == "preset_unavailable"
    with pytest.raises(ConfigurationError, match="access_token"):
        signed_in.serve(files={tmp_path / "new": "refresh_token"})


def test_a_file_that_became_another_programs_is_left(signed_in: SessionManager, tmp_path: Path) -> None:
    """What is not ours any more is not removed."""
    path = tmp_path / "token"
    with signed_in.serve(files=[path]):
        path.write_text("theirs")

    assert path.read_text() == "theirs"


def test_a_second_call_keeps_files_that_both_name(signed_in: SessionManager, tmp_path: Path) -> None:
    """A cell that is run again leaves its file in place, and removes those that it no longer names."""
    one, two = tmp_path / "one", tmp_path / "two"
    signed_in.serve(files=[one, two])
    inode = one.stat().st_ino
    with signed_in.serve(files=[str(one)]):
        assert one.stat().st_ino == inode
        assert not two.exists()
        asyncio.run(signed_in.refresh())
        until(lambda: one.read_text() == signed_in.access_token)

    assert not one.exists()


def test_a_second_call_that_fails_leaves_the_first(signed_in: SessionManager, tmp_path: Path) -> None:
    """What is served goes on."""
    path = tmp_path / "token"
    (tmp_path / "mine").write_text("mine")
    with signed_in.serve(files=[path]) as exits:
        with pytest.raises(ConfigurationError):
            signed_in.serve(files=[path, tmp_path / "mine"])
        asyncio.run(signed_in.refresh())
        until(lambda: path.read_text() == signed_in.access_token)
        assert exits.open


def test_a_first_call_that_fails_leaves_nothing(signed_in: SessionManager, tmp_path: Path, runtime: Path) -> None:
    """No endpoint, no folder; what is asked for next works."""
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConfigurationError):
        signed_in.serve(files=[tmp_path / "token", tmp_path / "mine"])
    assert signed_in._gate is not None
    assert signed_in._gate.closed
    assert [*runtime.iterdir()] == []
    assert not (tmp_path / "token").exists()
    with signed_in.serve(files=[tmp_path / "token"]):
        assert (tmp_path / "token").exists()


def test_a_folder_that_cannot_be_made(
    signed_in: SessionManager, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what is in the way."""
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ConfigurationError, match="No space left on device") as caught:
        signed_in.serve()
    assert caught.value.code == "preset_unavailable"


def test_a_reader_never_sees_a_part(signed_in: SessionManager, tmp_path: Path) -> None:
    """Readers during replacements see a whole token."""
    path, seen, stop = tmp_path / "token", set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(path.read_text())

    with signed_in.serve(files=[path]):
        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(10):
            asyncio.run(signed_in.refresh())
            until(lambda: path.read_text() == signed_in.access_token)
        stop.set()
        reader.join()

    assert len({len(text) for text in seen}) == 1


def test_what_a_killed_kernel_left_is_removed_by_the_next(
    signed_in: SessionManager, tmp_path: Path, runtime: Path, idp: Idp
) -> None:
    """Its folder, and its files elsewhere that still hold its token."""
    program = f"""
import os, signal
from pywry_auth_nb import AuthFlowManager, GenericOIDCProvider, SessionManager
from tests.conftest import sign_in
from tests.support.clients import REDIRECT_URI
from tests.support.idp import CLIENT
import asyncio, httpx
provider = GenericOIDCProvider(CLIENT, issuer_url={idp.issuer!r})
session = SessionManager(provider)
flow = AuthFlowManager(provider, session_manager=session)
async def go():
    request = await flow.begin(REDIRECT_URI)
    await flow.complete(httpx.get(request.url).json())
asyncio.run(go())
session.serve(files=[{str(tmp_path / "token")!r}, {str(tmp_path / "changed")!r}])
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=False, timeout=60)
    assert len([*runtime.glob("pywry-auth-*")]) == 1
    (tmp_path / "changed").write_text("mine")

    with signed_in.serve(files=[tmp_path / "token"]) as exits:
        assert [*runtime.glob("pywry-auth-*")] == [exits.key_file.parent]
        assert (tmp_path / "token").read_text() == signed_in.access_token
        assert (tmp_path / "changed").read_text() == "mine"


def test_the_folder_of_a_running_kernel_is_left_alone(signed_in: SessionManager, runtime: Path) -> None:
    """Two kernels serve side by side."""
    with signed_in.serve() as exits:
        folder.remove_abandoned(runtime)
        assert exits.key_file.exists()


# -- the environment --------------------------------------------------------------------------------------------------


def test_the_environment_leads_children_here_and_is_put_back(
    signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that this kernel starts finds the endpoint; afterwards the variables are as before."""
    monkeypatch.setenv("PYWRY_AUTH_URL", "before")
    with signed_in.serve() as exits:
        assert os.environ["PYWRY_AUTH_URL"] == exits.url
        ask = ["import os,urllib.request as r;key=open(os.environ['PYWRY_AUTH_KEY_FILE']).read();"]
        ask += ["request=r.Request(os.environ['PYWRY_AUTH_URL']+'/token',headers={'Authorization':key});"]
        ask += ["print(r.urlopen(request).read().decode())"]
        out = subprocess.run([sys.executable, "-c", "".join(ask)], capture_output=True, text=True, check=True)
        assert out.stdout.strip() == signed_in.access_token

    assert os.environ["PYWRY_AUTH_URL"] == "before"
    assert "PYWRY_AUTH_KEY_FILE" not in os.environ


def test_the_environment_can_be_left_alone(signed_in: SessionManager) -> None:
    """`environment=False` only says which variables there would be."""
    with signed_in.serve(environment=False) as exits:
        assert "PYWRY_AUTH_URL" not in os.environ
        assert exits.environment["PYWRY_AUTH_URL"] == exits.url


def test_a_variable_that_was_changed_meanwhile_stays(
    signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's later value counts."""
    with signed_in.serve():
        os.environ["PYWRY_AUTH_URL"] = "mine"
    assert os.environ.pop("PYWRY_AUTH_URL") == "mine"


def test_two_sessions_set_one_variable(signed_in: SessionManager, idp: Idp) -> None:
    """Whichever ends first, the variable is the other one's, and afterwards what it was."""
    other = SessionManager(signed_in.provider, MemoryTokenStore(), session_key="other")
    sign_in(AuthFlowManager(other.provider, session_manager=other), idp)
    for first in (0, 1):
        served = [signed_in.serve(), other.serve()]
        assert os.environ["PYWRY_AUTH_URL"] == served[1].url
        served[first].close()
        assert os.environ["PYWRY_AUTH_URL"] == served[1 - first].url
        served[1 - first].close()
        assert "PYWRY_AUTH_URL" not in os.environ


def test_a_proxy_gets_no_key(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where programs would ask this machine through a proxy, they are told not to."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.org")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    with signed_in.serve():
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org,127.0.0.1"
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org"


def test_what_took_the_place_of_a_file_blocks_nothing(signed_in: SessionManager, tmp_path: Path) -> None:
    """A pipe without a writer, or a link to what never ends: a sign-out would wait for it on the background loop."""
    for name, put in (("pipe", os.mkfifo), ("link", lambda path: path.symlink_to("/dev/zero"))):
        file = tmp_path / name
        exits = signed_in.serve(files=[file])
        file.unlink()
        put(file)
        closing = threading.Thread(target=exits.close, daemon=True)
        closing.start()
        closing.join(5)
        with case(name):
            assert not closing.is_alive()
            assert os.path.lexists(file)


def test_a_proxy_gets_no_key_after_a_second_call(signed_in: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first call has set counts as not set: it is taken back."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.org")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    signed_in.serve()
    with signed_in.serve():
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org,127.0.0.1"
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org"


def test_a_call_that_fails_leaves_the_variables_of_the_one_before(signed_in: SessionManager) -> None:
    """Also those that a look at the environment has set aside."""
    with signed_in.serve() as exits:
        with pytest.raises(ConfigurationError):
            signed_in.serve(anthropic=True)
        assert os.environ["PYWRY_AUTH_URL"] == exits.url
        os.environ["PYWRY_AUTH_URL"] = "mine"
        with pytest.raises(ConfigurationError):
            signed_in.serve(anthropic=True)
        assert os.environ.pop("PYWRY_AUTH_URL") == "mine"


def test_others_could_rename_the_folder(signed_in: SessionManager, runtime: Path) -> None:
    """They could put theirs in its place, with another key and script. The sticky bit of /tmp prevents it."""
    for mode in (0o777, 0o770):
        runtime.chmod(mode)
        with case(oct(mode)), pytest.raises(ConfigurationError, match="sticky") as caught:
            signed_in.serve()
        assert caught.value.code == "preset_unavailable"
        assert not [*runtime.iterdir()]
    runtime.chmod(0o1777)
    with signed_in.serve() as exits:
        assert exits.key_file.exists()


def test_a_terminal_can_have_the_variables(signed_in: SessionManager, tmp_path: Path) -> None:
    """The script of a `serve` sets them in a shell, whatever characters are in the paths."""
    with signed_in.serve(environment=False) as exits:
        shell = f". {exits.script} && echo $PYWRY_AUTH_URL $PYWRY_AUTH_KEY_FILE"
        out = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
        assert out.split() == [exits.url, str(exits.key_file)]
        assert str(exits.script) in repr(exits)
