"""`session.login()` in a real kernel without JupyterLab: a console with a prompt, a batch run, a page that greets."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import urlopen

import pytest
from jupyter_client.manager import start_new_kernel

from tests.support.waiting import over, patience, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.idp import Idp

SETUP = """
from pywry_auth_nb import AuthenticationError, GenericOIDCProvider, SessionManager
def login(**options):
    try:
        return session.login(**options).user_info["name"]
    except AuthenticationError as error:
        return f"{type(error).__name__} {error.code}: {error.message}"
"""
NEW = "session = SessionManager(GenericOIDCProvider('pywry', issuer_url='ISSUER'), session_key='KEY'); "
COUNT = iter(range(1000))


class Console:
    """A front end without widgets: runs one cell at a time in a kernel, and keeps all that is broadcast.

    Attributes:
        heard: The broadcast messages of the latest cell.
    """

    def __init__(self, client: Any, idp: Idp) -> None:
        self._client, self._idp = client, idp
        self.heard: list[dict[str, Any]] = []
        self._cell = ""

    def run(self, code: str, *, allow_stdin: bool = True) -> None:
        """Start a cell with a new session."""
        new = NEW.replace("ISSUER", self._idp.issuer).replace("KEY", str(next(COUNT)))
        self.heard = []
        expressions = {"result": "result"}
        self._cell = self._client.execute(
            f"{new}result = {code}", user_expressions=expressions, allow_stdin=allow_stdin, store_history=False
        )

    def is_a_page(self) -> None:
        """Call the session as pages do, and not as jupyter_client does."""
        self._client.session.session = str(uuid.uuid4())

    def asked(self) -> str:
        """Wait for a prompt, and return it."""
        request = self._client.get_stdin_msg(timeout=60)
        assert request["msg_type"] == "input_request"
        assert request["content"]["password"], "a front end may save what is not a password"
        return str(request["content"]["prompt"])

    def answers(self, text: str) -> None:
        """Answer the prompt."""
        self._client.input(text)

    def result(self) -> str:
        """Wait for the end of the cell, and return its result."""
        reply = self._client.get_shell_msg(timeout=60)["content"]
        assert reply["status"] == "ok", reply
        while True:
            message = self._client.get_iopub_msg(timeout=30)
            self.heard.append(message)
            mine = message["parent_header"].get("msg_id") == self._cell
            if mine and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return str(eval(reply["user_expressions"]["result"]["data"]["text/plain"]))  # noqa: S307 - a repr

    def sends(self, request: str, **content: Any) -> dict[str, Any]:
        """Be the page: send a request over the control channel, also while a cell is running; return the reply."""
        content = {"protocol": 1, "flow": self.flow(), **content}
        message = self._client.session.msg(f"pywry_auth_{request}_request", content)
        self._client.control_channel.send(message)
        while True:
            reply = self._client.control_channel.get_msg(timeout=30)
            if reply["msg_type"] == f"pywry_auth_{request}_reply":
                return dict(reply["content"])

    def flow(self) -> str:
        """Return the key in the link of the latest widget, once it is displayed."""
        begun = time.monotonic()
        while not over(begun, 20):
            for message in self.heard:
                state = message["content"].get("data", {}).get("state", {})
                if state.get("login_path"):  # it comes just after the widget
                    return str(state["login_path"]).rpartition("=")[2]
            try:
                self.heard.append(self._client.get_iopub_msg(timeout=1))
            except queue.Empty:
                continue
        raise AssertionError("no widget came")

    def displayed(self, text: str) -> None:
        """Wait until the outputs have ``text``."""
        begun = time.monotonic()
        while text not in json.dumps(self.outputs()):
            assert not over(begun, 20), f"{text!r} is not displayed"
            with contextlib.suppress(queue.Empty):
                self.heard.append(self._client.get_iopub_msg(timeout=1))

    def outputs(self) -> list[dict[str, Any]]:
        """Return the outputs of the latest cell, as a page that is saved now has them in its notebook."""
        outputs: dict[str, Any] = {}
        for message in self.heard:
            if message["msg_type"] in {"display_data", "update_display_data", "stream"}:
                content = message["content"]
                name = content.get("transient", {}).get("display_id") or message["header"]["msg_id"]
                outputs[name] = content.get("data", content)
        return [*outputs.values()]

    def secrets_heard(self) -> set[str]:
        """Return the secrets that were broadcast."""
        said = json.dumps([message["content"] for message in self.heard])
        codes = {device["user_code"] for device in self._idp._devices.values()}
        return {secret for secret in self._idp.secrets() | codes if secret in said}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    """A kernel that writes down everything, and its log."""
    log = tmp_path_factory.mktemp("kernel") / "log"
    with log.open("wb") as output:
        manager, client = start_new_kernel(extra_arguments=["--debug"], stdout=output, stderr=output)
        client.execute_interactive(SETUP, timeout=60, allow_stdin=False)
        yield client, log
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def console(kernel: tuple[Any, Path], idp: Idp) -> Iterator[Console]:
    """A console in front of it. The kernel's debug log is scanned for secrets in the end."""
    console, name = Console(kernel[0], idp), kernel[0].session.session
    yield console
    kernel[0].session.session = name
    log = kernel[1].read_text()
    assert {secret for secret in idp.secrets() if secret in log} == set()


def answer(idp: Idp, prompt: str) -> str:
    """Be a browser on another machine: open the address in a prompt, and return the one at which it ends."""
    url = next(word for word in prompt.split() if "/authorize?" in word)
    redirect_uri = dict(parse_qsl(urlsplit(url).query))["redirect_uri"]
    return f"{redirect_uri}?{urlencode(idp.authorize(url))}"


def test_a_console_asks_for_the_address(console: Console, idp: Idp) -> None:
    """Jupyter console, qtconsole: no page greets, so two seconds later the front end asks; nothing is broadcast."""
    console.run("login()")
    pasted = answer(idp, console.asked())
    console.answers("no address")
    assert "paste the whole address" in console.asked()
    console.answers(pasted)

    assert console.result() == "Ada Lovelace"
    assert console.secrets_heard() == set()


def test_a_console_goes_on_when_the_browser_comes_back(console: Console, idp: Idp) -> None:
    """The cell ends although the prompt was not answered; the late answer is dropped at the next prompt."""
    console.run("login()")
    urlopen(answer(idp, console.asked()), timeout=10).close()  # noqa: S310 - loopback
    assert console.result() == "Ada Lovelace"
    console.answers("late")
    console.run("input('name? ')")
    request = console._client.get_stdin_msg(timeout=60)
    console.answers("ada")

    assert request["content"]["prompt"] == "name? "
    assert console.result() == "ada"


def test_a_console_shows_a_code(console: Console, idp: Idp) -> None:
    """``via="device"``: the code stands in a prompt and in no output; the cell ends when the user has approved."""
    idp.device_extra = {"interval": 1}
    console.run("login(via='device')")
    prompt = console.asked()
    (device,) = idp._devices.values()
    assert device["user_code"] in prompt
    user_code = device["user_code"]
    idp.decide(user_code)

    assert console.result() == "Ada Lovelace"
    assert console.secrets_heard() == set()
    assert user_code not in json.dumps([message["content"] for message in console.heard])


@pytest.mark.parametrize("via", ["", "server"])
def test_a_batch_run_ends_within_five_seconds(console: Console, via: str) -> None:
    """Papermill, nbclient: no page greets and there is no prompt. The last words say how to provide a token."""
    began = time.monotonic()
    console.run(f"login(timeout=300, via={via!r})", allow_stdin=False)
    said = console.result()

    assert not over(began, 5)
    assert said.startswith("LoginRequired no_front_end")
    assert said.endswith("PYWRY_OAUTH2__ACCESS_TOKEN_FILE and SessionManager.from_settings().")
    assert console.outputs() == [{"text/html": "", "text/plain": ""}], "a widget is left that leads nowhere"


def test_jupyter_run_ends_within_five_seconds(idp: Idp, tmp_path: Path) -> None:
    """``jupyter run`` says that it takes input, and fails when it is asked: the kernel knows what has started it."""
    jupyter_run, program = tmp_path / "jupyter-run", tmp_path / "program.py"
    patient = "from jupyter_client import runapp; runapp.OUTPUT_TIMEOUT = 60; runapp.main()"  # on a busy machine
    jupyter_run.write_text(patient)
    took = "began = time.monotonic(); print(login(timeout=300), 'took', time.monotonic() - began)"
    program.write_text(f"import time\n{SETUP}{NEW.replace('ISSUER', idp.issuer)}\n{took}")
    command = [sys.executable, str(jupyter_run), str(program)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, stdin=subprocess.DEVNULL)

    assert "LoginRequired no_front_end" in ran.stdout, ran.stderr
    assert float(ran.stdout.rpartition("took")[2]) < 5 * patience()


@pytest.fixture
def jupyter_server(kernel: tuple[Any, Path]) -> Iterator[None]:
    """A Jupyter server has started the kernel: so says its file beside the kernel's."""
    record = Path(kernel[0].connection_file).parent / f"jpserver-{os.getpid()}.json"
    record.write_text('{"base_url": "/"}')
    yield
    record.unlink()


@pytest.mark.usefixtures("jupyter_server")
def test_a_console_of_a_servers_kernel_asks(console: Console, idp: Idp) -> None:
    """``jupyter console --existing``: no page can greet, so the address is asked for as in any console."""
    began = time.monotonic()
    console.run("login(timeout=300)")
    prompt = console.asked()
    assert not over(began, 5)
    console.answers(answer(idp, prompt))

    assert console.result() == "Ada Lovelace"
    assert "Is there nothing to click above?" not in json.dumps(console.outputs())


@pytest.mark.usefixtures("jupyter_server")
def test_a_page_of_a_server_is_waited_for(console: Console) -> None:
    """A busy page of JupyterLab may greet late: there is a plain link below the cell meanwhile, and no prompt."""
    console.is_a_page()
    console.run("login(timeout=5)")
    console.displayed("Is there nothing to click above?")

    assert console.result().startswith("AuthFlowTimeout flow_timeout")
    assert "Is there nothing to click above?" not in json.dumps(console.outputs())
    with pytest.raises(queue.Empty):
        console._client.get_stdin_msg(timeout=0)


# -- a page that draws no widget ----------------------------------------------------------------------------------


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_a_page_shows_a_code_as_long_as_it_is_good(console: Console, idp: Idp, allow_stdin: bool) -> None:
    """The code stands in an output, which is empty when the sign-in is over; a batch run's notebook has none, either.

    There is no prompt: JupyterLab saves its text, and runs no other cell before it has been answered.
    """
    idp.device_extra = {"interval": 1}
    if allow_stdin:
        console.is_a_page()
    console.run("login(via='device')", allow_stdin=allow_stdin)
    until(lambda: idp._devices, seconds=20)
    (device,) = idp._devices.values()
    console.displayed(device["user_code"])
    idp.decide(device["user_code"])

    assert console.result() == "Ada Lovelace"
    assert device["user_code"] not in json.dumps(console.outputs())
    with pytest.raises(queue.Empty):
        console._client.get_stdin_msg(timeout=0)


def test_a_page_shows_an_address_as_long_as_it_is_good(console: Console, idp: Idp) -> None:
    """The same for the address at which to sign in."""
    console.is_a_page()
    console.run("login(via='loopback')")
    prompt = console.asked()
    console.displayed("/authorize?")
    console.answers(answer(idp, " ".join(output.get("text/plain", "") for output in console.outputs())))

    assert "/authorize" not in prompt
    assert console.result() == "Ada Lovelace"
    assert "/authorize" not in json.dumps(console.outputs())


def test_a_late_widget_goes_on_with_the_same_code(console: Console, idp: Idp) -> None:
    """A widget that greets after the code has come opens its panel, and shows the code that the user has."""
    idp.device_extra = {"interval": 1}
    console.is_a_page()
    console.run("login(timeout=60, via='device')")
    until(lambda: idp._devices, seconds=20)
    (device,) = idp._devices.values()
    console.displayed(device["user_code"])
    console.sends("hello", front_end={"server": False, "control": True})
    opened = console.sends("start", way="device")
    assert opened["user_code"] == device["user_code"]
    idp.decide(device["user_code"])

    assert console.result() == "Ada Lovelace"
    told = [message["content"]["data"].get("content") for message in console.heard if message["msg_type"] == "comm_msg"]
    assert {"open": "device"} in told
    assert device["user_code"] not in json.dumps(console.outputs())


def test_input_that_is_none(console: Console) -> None:
    """``jupyter run`` without a terminal says that it takes input, and answers with its end."""
    console.run("login(timeout=300)")
    console.asked()
    console.answers("\x04")

    assert console.result().startswith("LoginRequired no_front_end")


def test_its_time_is_up(console: Console) -> None:
    """A prompt that is not answered ends with ``login(timeout)``."""
    console.run("login(timeout=3)")
    console.asked()

    assert console.result().startswith("AuthFlowTimeout flow_timeout")


def test_a_page_greets(console: Console, idp: Idp) -> None:
    """A page that reaches the kernel leads on: no prompt comes, and what it needs comes over the control channel."""
    console.run("login(timeout=30)")
    ways = console.sends("hello", front_end={"server": False, "control": True})["ways"]
    opened = console.sends("start", way="loopback")
    unusable = console.sends("paste", text=opened["authorize_url"])
    pasted = console.sends("paste", text=answer(idp, opened["authorize_url"]))

    assert [(way["name"], bool(way["why"])) for way in ways] == [
        ("server", True),
        ("loopback", False),
        ("device", False),
    ]
    assert (unusable["status"], unusable["code"]) == ("error", "paste_unusable")
    assert opened["redirect_uri"] in unusable["text"]
    assert pasted["status"] == "ok"
    assert console.result() == "Ada Lovelace"
    assert console.secrets_heard() == set()


def test_a_page_shows_a_code(console: Console, idp: Idp) -> None:
    """The device code stays in the kernel; a reloaded page gets the same user code."""
    idp.device_extra = {"interval": 1}
    console.run("login(timeout=30, via='device')")
    console.sends("hello", front_end={"server": True, "control": True})
    opened, again = console.sends("start", way="device"), console.sends("start", way="device")
    idp.decide(opened["user_code"])

    assert again["user_code"] == opened["user_code"]
    assert opened["verification_uri"] == f"{idp.issuer}/enter"
    assert "CANARY" not in json.dumps(opened)
    assert console.result() == "Ada Lovelace"
    told = [message["content"]["data"].get("content") for message in console.heard if message["msg_type"] == "comm_msg"]
    assert {"open": "device"} in told


def test_a_late_page_ends_the_prompt(console: Console, idp: Idp) -> None:
    """A page that greets after the prompt has come is not too late: the sign-in in the page ends the cell."""
    console.run("login(timeout=30)")
    console.asked()
    console.sends("hello", front_end={"server": False, "control": True})
    console.sends("cancel")

    assert console.result().startswith("AuthFlowCancelled")


def test_widget_messages_are_answered_and_not_logged(kernel: tuple[Any, Path], console: Console, idp: Idp) -> None:
    """A page without control channel sends the same as widget messages: answered after the cell, and never logged."""
    console.run("display(session)")
    console.flow()
    console.result()
    comm_id = next(
        m["content"]["comm_id"]
        for m in console.heard
        if m["content"].get("target_name") == "jupyter.widget" and "login_path" in m["content"]["data"]["state"]
    )
    client = kernel[0]

    def ask(request: str, **content: Any) -> dict[str, Any]:
        data = {"method": "custom", "content": {"request": request, "id": request, **content}}
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm_id, "data": data}))
        while True:
            said = client.get_iopub_msg(timeout=30)["content"].get("data", {})
            if isinstance(said, dict) and (said.get("content") or {}).get("reply") == request:
                return dict(said["content"])

    opened = ask("start", way="loopback")
    reply = ask("paste", text=answer(idp, opened["authorize_url"]))

    assert (opened["status"], reply["status"]) == ("ok", "ok")
    until(lambda: idp.requests_to("/userinfo"))
