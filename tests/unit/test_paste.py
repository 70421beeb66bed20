"""What users paste, and where no way works: what is understood, and what is said."""

from __future__ import annotations

import sys
import webbrowser
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from pywry_auth_nb import AuthenticationError, ConfigurationError, LoginRequired, SessionManager
from pywry_auth_nb._io import loop
from pywry_auth_nb._sign_in import browser, front_end
from pywry_auth_nb._sign_in.paste import answer_in

REDIRECT_URI = "http://127.0.0.1:40000/callback"
ANSWER = {"code": "a+b/c=", "state": "s", "iss": "https://login.example.org"}
QUERY = "&".join(f"{name}={quote(value, safe='')}" for name, value in ANSWER.items())


@pytest.mark.parametrize(
    "text",
    [
        f"{REDIRECT_URI}?{QUERY}",
        f"?{QUERY}",
        QUERY,
        f"{REDIRECT_URI}?{QUERY}#_=_",
        f"127.0.0.1:40000/callback?{QUERY}",
        f'  "{REDIRECT_URI}?{QUERY}"\n',
        f"<{REDIRECT_URI}?{QUERY[:9]}\n    {QUERY[9:]}>",
    ],
)
def test_what_is_understood(text: str) -> None:
    """A whole address or its query, quoted, wrapped, or with the fragment that some providers add."""
    assert answer_in(text, REDIRECT_URI) == ANSWER


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing"),
        ("x" * 20_000, "nothing"),
        ("hello", "no answer"),
        (REDIRECT_URI, "no answer"),
        ("about:blank", "no answer"),
        ("https://login.example.org/authorize?response_type=code&state=s", "address to sign in at"),
        ("code=1", "state"),
        ("code=1&code=2&state=s", "cannot be read"),
        (f"code={'x' * 8192}&state=s", "cannot be read"),
        ("code=%ff&state=s", "no answer"),
        ("&".join(f"a{number}=1" for number in range(40)), "no answer"),
    ],
)
def test_what_is_no_answer(text: str, says: str) -> None:
    """Each gets a sentence that says what is wrong, and what to paste; none quotes the text."""
    with pytest.raises(AuthenticationError, match=says) as caught:
        answer_in(text, REDIRECT_URI)

    assert caught.value.code == "paste_unusable"
    assert caught.value.message.endswith(f"It begins with {REDIRECT_URI}?")


def test_an_unknown_way(session: SessionManager) -> None:
    """A way that does not exist is a mistake of the caller's, found before anything is opened."""
    with pytest.raises(ConfigurationError, match="'server', 'loopback', 'device'"):
        session.login(via="browser")


@pytest.mark.parametrize(
    ("via", "code"), [("server", "way_unavailable"), ("loopback", "no_front_end"), ("", "no_front_end")]
)
def test_no_terminal(session: SessionManager, via: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a kernel, a terminal and a browser, no way but a code can be had."""
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("lynx"))
    monkeypatch.delenv("BROWSER", raising=False)
    with pytest.raises(LoginRequired) as caught:
        session.login(via=via)

    assert caught.value.code == code


def test_marimo(session: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell of marimo gets a sentence that says what works there."""
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: True))
    with pytest.raises(LoginRequired, match=r"marimo cannot wait.*last line of a cell") as caught:
        session.login()

    assert caught.value.code == "no_front_end"


def test_a_kernel_that_is_not_ipykernel(session: SessionManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """xeus-python has an IPython shell with another kernel, also when ipykernel has been imported."""
    other = SimpleNamespace(kernel=SimpleNamespace())
    monkeypatch.setattr("IPython.get_ipython", lambda: other)
    monkeypatch.setattr(front_end, "shell", lambda: other)

    assert front_end.current_kernel() is None
    with pytest.raises(LoginRequired, match="A cell of this kernel"):
        session.login()


def test_pyodide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python in a browser has no threads: a sentence, and no wait."""
    monkeypatch.setattr(sys, "platform", "emscripten")
    with pytest.raises(ConfigurationError, match="Pyodide"):
        loop.get_loop()


@pytest.mark.parametrize(("chosen", "expected"), [("", False), ("/usr/bin/helper.sh", True)])
def test_a_text_browser_is_no_window(chosen: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lynx would take the terminal from the prompt; a program in ``BROWSER`` (VS Code over ssh) was chosen."""
    monkeypatch.setenv("BROWSER", chosen)
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("lynx"))

    assert browser.has_window_browser() is expected
