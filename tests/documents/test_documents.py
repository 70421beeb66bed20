"""What README, docs, SECURITY, CHANGELOG, the examples' pages and the notebooks say is run, or at least checked.

The code of a page runs from top to bottom in one notebook, as its reader would run it. Only the wire is false: the
addresses of providers and APIs lead to servers of the tests, and Ada clicks "Sign in" wherever a widget shows it.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.serverapp import ServerApp
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.scopes import scope_definitions
from jupyterhub.spawner import Spawner
from kernel_gateway.gatewayapp import KernelGatewayApp
from packaging.requirements import Requirement
from traitlets.config import Configurable, LazyConfigValue

from pywry_auth_nb import GenericOIDCProvider, OAuth2Settings, SessionManager, cli
from pywry_auth_nb.server.redirect_uri import PywryAuth
from pywry_auth_nb.token_store import make_encryption_key, reset_token_store
from tests.documents.pages import ROOT, Block, Page, read_pages, take_apart
from tests.stores.servers import RedisServer
from tests.support.idp import CLIENT
from tests.support.lookalikes import SECRET
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from tests.documents.wire import FrontEnd, Internet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGES = read_pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
HUB_PAGES = {"docs/jupyterhub.md", "examples/jupyterhub/quickstart.ipynb"}
EXAMPLES = ROOT / "examples" / "jupyterhub"

#: Blocks that are not run, by page and first line, and why.
NOT_RUN = {
    (
        "docs/architecture.md",
        "widget ──link──▶ server: pywry-auth/login ──ask──▶ kernel: new state, nonce, PKCE verifier",
    ): ("a drawing"),
    ("docs/architecture.md", "pywry_auth_nb/"): "a listing of folders",
    ("docs/jupyterhub.md", "https://HUB/hub/user-redirect/pywry-auth/callback"): "an address to register",
}
#: Programs in shell blocks that are not here, and why.
NOT_HERE = {
    "curl": "asks an address that is nowhere; tests/cli has it ask one",
    "nano": "an editor",
    "papermill": "runs a notebook that is not here; tests/cli has it run one",
    "tljh-config": "The Littlest JupyterHub's",
}
#: Options of other programs, and whose they are.
OF_OTHERS = {
    "--keyring-provider import": "pip",
    "--keyring-provider subprocess": "pip and uv",
    "--oidc-issuer-url": "Kubernetes' API server",
}
#: What a reader fills in.
FILL_IN: dict[str, Callable[[Path], str]] = {
    '"my-client-id"': lambda _: repr(CLIENT),
    '"client id"': lambda _: repr(CLIENT),
    '"application (client) ID"': lambda _: repr(CLIENT),
    '"….apps.googleusercontent.com"': lambda _: repr(CLIENT),
    '"Ov23…"': lambda _: repr(CLIENT),
    '"notebook"': lambda _: repr(CLIENT),
    '"contoso.onmicrosoft.com"': lambda _: "'contoso.example'",
    'encryption_key="…"': lambda _: f"encryption_key={make_encryption_key()!r}",
    "port=8400": lambda _: f"port={free_port()}",
    '_url="https://…"': lambda _: "_url='https://login.example.org/oauth'",
    '"/home/ada/.tokens"': lambda home: repr(str(home / "tokens")),
    '"/etc/jupyterhub"': lambda _: repr(str(EXAMPLES)),
    '"/usr/local/etc/jupyterhub"': lambda _: repr(str(EXAMPLES)),
    "/etc/pywry-auth/client-secret": lambda home: write_secret(home / "client-secret"),
    "/etc/pywry-auth/client-key.pem": lambda home: write_key(home / "client-key.pem"),
    "/run/secrets/refresh-token": lambda home: write_secret(home / "refresh-token"),
    '"/var/run/secrets/api/token"': lambda home: repr(write_secret(home / "token")),
}
CONFIGURABLE: dict[str, type[Configurable]] = {
    kind.__name__: kind
    for kind in (
        Authenticator,
        GatewayClient,
        JupyterHub,
        KernelGatewayApp,
        OAuth2Settings,
        PywryAuth,
        ServerApp,
        Spawner,
    )
}
COMMAND = re.compile(r"(?:pywry-auth|(?:python|\{sys\.executable\}) -m pywry_auth_nb)( .*)?")
PYTHON = re.compile(r"import |from |await |[!%]|\w[\w.]* = |\w[\w.]*\(")


def write_secret(path: Path) -> str:
    """Write a client's secret to a file; return its path."""
    path.write_text(SECRET, encoding="utf-8")
    return str(path)


def write_key(path: Path) -> str:
    """Write a client's private key to a file; return its path."""
    form = serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return str(path)


def of_kind(*languages: str) -> list[Any]:
    """The blocks in some languages, each as a case of its own."""
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language in languages and not idle(block)]


def idle(block: Block) -> bool:
    """Whether the table says that a block is not run."""
    return (block.page, block.first_line) in NOT_RUN


def page_cases(wanted: Callable[[Page], object]) -> list[Any]:
    """The pages that have something to test."""
    return [pytest.param(page, id=page.name) for page in PAGES if wanted(page)]


# -- running ------------------------------------------------------------------------------------------------------


class Reader:
    """Runs code as a reader of the page would, in one notebook.

    Attributes:
        blanks: What the reader fills in besides.
    """

    def __init__(self, shell: InteractiveShell, front_end: FrontEnd, home: Path) -> None:
        self.blanks: dict[str, str] = {}
        self._shell = shell
        self._front_end = front_end
        self._home = home

    def run(self, block: Block) -> None:
        """Run a block.

        Raises:
            AssertionError: It is no code, or it raises, or a program that it starts fails.
        """
        self._shell.user_ns["_exit_code"] = 0
        code = filled_in(_code_of(block), self._home)
        for blank, value in self.blanks.items():
            code = code.replace(blank, value)
        result = self._shell.run_cell(code)
        self._front_end.settle()
        error = result.error_before_exec or result.error_in_exec
        assert error is None, f"{block.place}: {type(error).__name__}: {error}"
        assert self._shell.user_ns["_exit_code"] == 0, f"{block.place}: the program failed"

    @property
    def names(self) -> dict[str, Any]:
        """What the page has defined so far."""
        names: dict[str, Any] = self._shell.user_ns
        return names

    @property
    def config(self) -> Config:
        """The ``c`` of the page."""
        config: Config = self.names["c"]
        return config

    def configured(self) -> list[str]:
        """What the page has configured so far, as ``Class.trait``."""
        return [
            f"{section}.{name}"
            for section, values in self.config.items()
            for name, value in values.items()
            if not isinstance(value, LazyConfigValue)
        ]


def filled_in(text: str, home: Path) -> str:
    """Return a block with what a reader fills in."""
    for blank, value in FILL_IN.items():
        if blank in text:
            text = text.replace(blank, value(home))
    return text


def _code_of(block: Block) -> str:
    """The Python in a block: all of it, or the new lines of a change, or what a Helm chart puts into the hub."""
    if block.language == "diff":
        return "\n".join(line[1:] for line in block.text.splitlines() if line[:1] in {"+", " "})
    if block.language == "yaml":
        return "\n".join(yaml.safe_load(block.text)["hub"]["extraConfig"].values())
    return block.text


@pytest.fixture
def reader(shell: InteractiveShell, front_end: FrontEnd, tmp_path: Path) -> Reader:
    """A reader with an empty notebook."""
    return Reader(shell, front_end, tmp_path)


RUNS = {"python", "diff", "yaml"}
RECIPES = "docs/recipes/"  # test_recipes.py runs them


def has_code(page: Page) -> bool:
    """Whether a page, other than a recipe, has code that runs in a notebook."""
    return not page.name.startswith(RECIPES) and any(block.language in RUNS for block in page.blocks)


@pytest.mark.parametrize("page", page_cases(has_code))
def test_the_code_of_a_page_runs(
    page: Page, reader: Reader, internet: Internet, environment: pytest.MonkeyPatch
) -> None:
    """From top to bottom, in one notebook, also IPython's own syntax; what it configures can be configured."""
    if page.name in HUB_PAGES:
        for name, value in internet.keep_hub_sign_in().items():
            environment.setenv(name, value)

    for block in page.blocks:
        if block.language in RUNS and not idle(block):
            reader.run(block)

    assert unknown_settings(reader.configured()) == []
    assert unknown_scopes(reader.config.JupyterHub.get("load_roles", [])) == set()


def test_the_readme_calls_an_api(reader: Reader, internet: Internet) -> None:
    """The cells under the picture sign in, and what they send is taken."""
    [readme] = [page for page in PAGES if page.name == "README.md"]
    for block in readme.blocks:
        if block.language == "python":
            reader.run(block)

    assert internet.api_calls == 1


def test_the_page_about_scopes_asks_for_what_the_api_demands(reader: Reader, internet: Internet) -> None:
    """Its API demands more scopes and a newer sign-in, and then takes what comes."""
    [page] = [page for page in PAGES if page.name == "docs/scopes.md"]
    for block in page.blocks:
        reader.run(block)

    assert internet.demands == {}
    assert internet.api_calls == 4


@pytest.mark.parametrize(
    "code", ["import sys; !{sys.executable} -m pywry_auth_nb doctor", "session.acess_token", "%%nothing_like_it\n1"]
)
def test_a_mistake_in_a_page_is_found(reader: Reader, code: str) -> None:
    """What does not run in a notebook fails here."""
    with pytest.raises(AssertionError, match=r"README\.md:7"):
        reader.run(Block("README.md", 7, "python", code))


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of_kind("dotenv"))
def test_settings_of_the_environment_make_a_session(
    block: Block, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each is a setting, and together they are enough (tests/providers: they say the same as the page's cell)."""
    for name in [name for name in os.environ if name.startswith("PYWRY_OAUTH2__")]:
        environment.delenv(name)
    for line in filled_in(block.text, tmp_path).splitlines():
        name, _, value = line.partition("=")
        environment.setenv(name, value)

    reset_token_store()

    assert SessionManager.from_settings().status == "signed_out"
    reset_token_store()


# -- commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of_kind("sh"))
def test_a_shell_block_is_right(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are there and take these options; what only prints is run."""
    for line in block.text.splitlines():
        for words in commands_in(shlex.split(line, comments=True)):
            check_command(words, monkeypatch)


def commands_in(words: list[str]) -> list[list[str]]:
    """The commands of a pipeline."""
    if "|" not in words:
        return [words] if words else []
    here = words.index("|")
    return [words[:here], *commands_in(words[here + 1 :])]


def check_command(words: list[str], patch: pytest.MonkeyPatch) -> None:
    """Check one command of a shell."""
    while words[0] == "sudo" or words[0].startswith("-"):
        words = words[1:]
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if program.startswith("python") and arguments[0] == "-c":
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, timeout=30)
    elif program.startswith("python") and arguments[0] == "-m":
        check_command(arguments[1:], patch)
    elif program == "pip":
        check_pip(arguments)
    elif program == "make":
        check_make(arguments)
    elif program == "git":
        check_command([*arguments[-1].removeprefix("!").split(), "get"], patch)
    elif program in {"pywry-auth", "pywry_auth_nb"}:
        assert understands(arguments, patch), f"pywry-auth does not take {arguments}"
    else:
        assert program in NOT_HERE, f"there is no {program}"


def check_pip(arguments: list[str]) -> None:
    """Check that what is to be installed is this package, with extras that it has, or a package that an extra names."""
    assert arguments[0] == "install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for wanted in (word for word in arguments[1:] if word != "--no-deps"):
        requirement = Requirement(re.sub(r"^\.", project["name"], wanted))
        assert requirement.name in {project["name"], *extras}
        assert requirement.extras <= set(extras), f"{wanted}: there is no such extra"


def check_make(arguments: list[str]) -> None:
    """Check that the Makefile has a target, and reads the variables that it is given."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in arguments:
        name, is_variable, _ = word.partition("=")
        assert f"$({name})" in makefile if is_variable else re.search(rf"^{name}:", makefile, re.MULTILINE), word


class Understood(Exception):  # noqa: N818 - not an error
    """The command line was parsed."""


def understands(arguments: list[str], patch: pytest.MonkeyPatch) -> bool:
    """Whether ``pywry-auth`` takes these arguments; nothing is done with them."""
    parse = argparse.ArgumentParser.parse_args

    def parse_alone(parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(parser, *args, **kwargs)
        raise Understood

    with patch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
        try:
            cli.main(arguments)
        except Understood:
            return True
        except SystemExit:
            return False
    raise AssertionError("the command was run")


@pytest.mark.parametrize("page", page_cases(lambda page: page.spans))
def test_commands_between_the_words_are_right(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command in the middle of a sentence is copied just as one in a block is."""
    for span in page.spans:
        if COMMAND.fullmatch(span) and " " in span:
            [command, *_] = commands_in(shlex.split(span.replace("{sys.executable}", "python")))
            check_command(command, monkeypatch)
        elif span.startswith(("make ", "pip ", "RUN pip ")):
            check_command(shlex.split(span.removeprefix("RUN ")), monkeypatch)
        elif span.startswith("'.["):
            check_pip(["install", *shlex.split(span)])
        elif span.startswith("--"):
            check_option(span)


def check_option(option: str) -> None:
    """Check an option that is named alone: one of ours, a trait of a Jupyter server, or one of another program."""
    name, _, _ = option.removeprefix("--").partition("=")
    if name[0].isupper():
        assert unknown_settings([name]) == []
    else:
        assert re.search(rf"--{name.partition(' ')[0]}\b", every_help(cli._parser())) or option in OF_OTHERS, option


def every_help(parser: argparse.ArgumentParser) -> str:
    """What ``--help`` says of a command and of those below it."""
    below = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return parser.format_help() + "".join(every_help(each) for choices in below for each in choices.values())


@pytest.mark.parametrize("page", page_cases(lambda page: page.spans))
def test_code_between_the_words_can_be_typed(page: Page, shell: InteractiveShell) -> None:
    """Inline code that looks like Python is Python, with IPython's additions; what is left out is an ellipsis."""
    for span in page.spans:
        if PYTHON.match(span):
            code = shell.transform_cell(span.replace("…", "..."))
            compile(code, f"{page.name}: {span}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


# -- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", page_cases(lambda _: True))
def test_names_in_a_page_exist(page: Page) -> None:
    """Environment variables, extras, settings of a configuration file, and what a session has."""
    extras = re.findall(r"pywry-auth-nb\[([\w,-]+)\]", page.text)
    settings = re.findall(r"\bc\.([A-Z]\w+\.\w+)", page.text)
    attributes = set(re.findall(r"\bsession\.([a-z]\w*)", page.text))
    session = SessionManager(GenericOIDCProvider(CLIENT, issuer_url="https://login.example.org"))

    assert set(re.findall(r"\bPYWRY_\w+", page.text)) <= variables()
    check_pip(["install", *(f"pywry-auth-nb[{extra}]" for extra in extras)])
    assert unknown_settings(settings) == []
    assert attributes <= set(dir(session))


def variables() -> set[str]:
    """The environment variables that the package reads, and the beginning that some have in common."""
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pywry_auth_nb").rglob("*.py"))
    prefix = "PYWRY_OAUTH2__"
    settings = {prefix + name.upper() for name in OAuth2Settings.class_trait_names(config=True)}
    return {prefix} | settings | set(re.findall(r"""["'](PYWRY_AUTH_[A-Z_]+)["']""", source))


def unknown_settings(names: Iterable[str]) -> list[str]:
    """Which of these, as ``Class.trait``, no configuration file can set."""
    pairs = [(name, *name.split(".")) for name in names]
    return [
        name
        for name, kind, trait in pairs
        if kind not in CONFIGURABLE or trait not in CONFIGURABLE[kind].class_trait_names(config=True)
    ]


# -- other languages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of_kind("redis"))
def test_redis_takes_what_its_administrator_is_told(block: Block) -> None:
    """A real server takes each command."""
    with RedisServer() as server:
        for line in block.text.splitlines():
            assert server.cli(*line.split()) == "OK"


@pytest.mark.parametrize("block", of_kind("conf"))
def test_redis_takes_its_configuration(block: Block) -> None:
    """A real server starts with it, and has it."""
    pairs = [line.split() for line in block.text.splitlines()]
    with RedisServer(*(word for name, value in pairs for word in (f"--{name}", value))) as server:
        for name, value in pairs:
            assert server.cli("config", "get", name).split() == [name, value]


@pytest.mark.parametrize("block", of_kind("yaml"))
def test_helm_values_set_what_exists(block: Block) -> None:
    """Users' environment has settings of ours, and a role only what JupyterHub knows."""
    values = yaml.safe_load(block.text)

    assert set(values["singleuser"]["extraEnv"]) <= variables()
    assert unknown_scopes(values["hub"]["loadRoles"].values()) == set()


@pytest.mark.parametrize("block", of_kind("yml"))
def test_manifests_set_what_exists(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable of ours is read, and what a credential plugin is started with is a command of ours."""
    manifest = yaml.safe_load(block.text)
    names = set(re.findall(r"\bPYWRY_\w+", block.text))

    assert names
    assert names <= variables()
    for user in manifest.get("users", []):
        plugin = user["user"]["exec"]
        check_command([plugin["command"], *plugin["args"]], monkeypatch)


def unknown_scopes(roles: Iterable[Any]) -> set[str]:
    """Which scopes of these roles JupyterHub does not know."""
    return {scope for role in roles for scope in role["scopes"] if scope.partition("!")[0] not in scope_definitions}


# -- nothing is left out ------------------------------------------------------------------------------------------


def test_every_block_is_run_or_has_a_reason() -> None:
    """A block in a language without a test has to be in the table, with the reason."""
    tested = RUNS | {"sh", "redis", "conf", "dotenv", "yml"}
    left_out = {(block.page, block.first_line) for block in BLOCKS if block.language not in tested}

    assert left_out - NOT_RUN.keys() == set()


def test_the_tables_are_exact() -> None:
    """What is not in a document any more is in no table, either."""
    names = {(block.page, block.first_line) for block in BLOCKS}
    shell = [word for block in BLOCKS if block.language == "sh" for word in block.text.split()]

    assert NOT_RUN.keys() - names == set()
    assert [text for text in FILL_IN if not any(text in block.text for block in BLOCKS)] == []
    assert [program for program in NOT_HERE if program not in shell] == []
    assert {page.name for page in PAGES} >= HUB_PAGES


def test_every_kind_of_page_is_read() -> None:
    """No folder is forgotten."""
    names = {page.name for page in PAGES}

    assert {"README.md", "SECURITY.md", "CHANGELOG.md", "docs/settings.md", "docs/providers/oidc.md"} <= names
    assert {
        "notebooks/quickstart.ipynb",
        "examples/jupyterhub/quickstart.ipynb",
        "examples/jupyterhub/README.md",
    } <= names


@pytest.mark.parametrize("text", ["```python\n1", "words\n\n    1 + 1\n"])
def test_a_block_that_would_not_be_seen_is_refused(text: str) -> None:
    """An open fence hides the rest of a page, and an indented block has no language."""
    with pytest.raises(ValueError, match=r"page\.md:"):
        take_apart("page.md", text)
