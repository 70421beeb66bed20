"""The package as one gets it: light to import, complete in the wheel, enabled once installed."""

from __future__ import annotations

import ast
import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement

import pywry_auth_nb
from tests.support.cases import case

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
HEAVY = {"IPython", "anywidget", "comm", "httpx", "ipykernel", "ipywidgets", "jwt", "keyring", "redis", "traitlets"}
KERNELS_SIDE = {"flow", "providers", "session", "token_store", "widget", "_io", "_session", "_sign_in"}


def python(*arguments: str | Path, executable: str | Path = sys.executable, **environment: str) -> str:
    """Run Python in the repository and return what it printed."""
    done = subprocess.run(
        [executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str) -> tuple[set[str], float]:
    """Which modules a fresh interpreter has after a statement, and how many seconds of CPU it took."""
    code = (
        f"import json, sys, time; t = time.process_time(); {statement}; "
        "print(json.dumps([time.process_time() - t, sorted(sys.modules)]))"
    )
    seconds, modules = json.loads(python("-c", code))
    return set(modules), seconds


# -- importing --------------------------------------------------------------------------------------------------


def test_importing_the_package_loads_nothing() -> None:
    """``import pywry_auth_nb`` loads no dependency, so notebooks that never sign in stay fast."""
    modules, seconds = loaded_by("import pywry_auth_nb")
    ours = {name for name in modules if name.startswith("pywry_auth_nb")}

    assert modules & HEAVY == set()
    assert ours == {"pywry_auth_nb", "pywry_auth_nb._version"}
    assert seconds < 0.5


@pytest.mark.parametrize("name", ["LoginRequired", "OAuthTokenSet", "PKCEChallenge", "MemoryTokenStore"])
def test_a_value_needs_the_standard_library_alone(name: str) -> None:
    """Errors, tokens and PKCE can be used where nothing else is installed."""
    modules, _ = loaded_by(f"from pywry_auth_nb import {name}")

    assert modules & HEAVY == set()


def test_the_session_needs_no_front_end() -> None:
    """A session and its provider load no widget library, so they work in scripts and workers."""
    modules, _ = loaded_by("from pywry_auth_nb import GenericOIDCProvider, SessionManager, AuthFlowManager")

    assert modules & {"IPython", "anywidget", "comm", "ipykernel", "ipywidgets", "keyring", "redis"} == set()


def test_the_server_knows_nothing_of_the_kernels_side() -> None:
    """The extension loads no session, no provider and no widget into the server process."""
    code = (
        "import json, sys, jupyter_server.serverapp, jupyter_server.auth.decorator; before = set(sys.modules); "
        "import pywry_auth_nb.server; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    added = json.loads(python("-c", code))

    assert "pywry_auth_nb.server.handlers" in added
    assert {f"pywry_auth_nb.{name}" for name in KERNELS_SIDE}.isdisjoint(added)
    assert {name.partition(".")[0] for name in added}.isdisjoint({"anywidget", "httpx", "ipywidgets", "jwt"})


def test_every_public_name_is_there() -> None:
    """What ``__all__`` promises can be imported, and knows where it lives."""
    for name in pywry_auth_nb.__all__:
        with case(name):
            value = getattr(pywry_auth_nb, name)

            assert name in dir(pywry_auth_nb)
            if name != "__version__":
                assert value.__name__ == name
                assert value.__module__.startswith("pywry_auth_nb.")


def test_type_checkers_see_every_public_name() -> None:
    """What is imported lazily is imported for type checkers as well: else it is Any to them."""
    tree = ast.parse(Path(pywry_auth_nb.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert seen | {"__version__"} == set(pywry_auth_nb.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typing error is told as such."""
    with pytest.raises(AttributeError, match="SessionManger"):
        _ = pywry_auth_nb.SessionManger  # type: ignore[attr-defined]


def test_every_public_name_is_in_the_list() -> None:
    """A star import brings exactly ``__all__``, which is sorted and holds nothing twice."""
    names: dict[str, Any] = {}
    exec("from pywry_auth_nb import *", names)  # noqa: S102 - a star import inside a function

    assert set(names) - {"__builtins__"} == set(pywry_auth_nb.__all__)
    assert sorted(pywry_auth_nb.__all__) == pywry_auth_nb.__all__
    assert len(set(pywry_auth_nb.__all__)) == len(pywry_auth_nb.__all__)


# -- the wheel --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as an index would hand it out."""
    where = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "-t", "sdist", "-d", where)
    (sdist,) = where.glob("*.tar.gz")
    python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", where, sdist)
    (built,) = where.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def files(wheel: Path) -> set[str]:
    """The paths in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """What the wheel says about itself."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


IN_THE_WHEEL = [
    "pywry_auth_nb/py.typed",
    "pywry_auth_nb/static/widget.js",
    "pywry_auth_nb/static/widget.css",
    "pywry_auth_nb/static/panel.js",
    "pywry_auth_nb/demo/quickstart.ipynb",
    "data/etc/jupyter/jupyter_server_config.d/pywry_auth_nb.json",
    "licenses/LICENSE",
]


def test_the_wheel_has_the_other_files(files: set[str]) -> None:
    """Front end, typing marker, server configuration, demo notebook and licence are in it."""
    for path in IN_THE_WHEEL:
        with case(path):
            assert [name for name in files if name.endswith(path)]


def test_the_wheel_has_every_module(files: set[str]) -> None:
    """Whatever is in the package here is in the wheel."""
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pywry_auth_nb").rglob("*.py")}

    assert here - files == set()


def test_the_wheel_has_nothing_else(files: set[str]) -> None:
    """No tests, no keys, no sources of the front end, no leftovers."""
    strange = [
        name
        for name in files
        if not name.startswith(("pywry_auth_nb/", "pywry_auth_nb-")) or name.endswith((".pem", ".pyc", ".map", ".ts"))
    ]

    assert strange == []


@pytest.mark.parametrize(
    ("package", "fine", "vulnerable"), [("pyjwt", "2.13", "2.12.9"), ("jupyter-server", "2.18", "2.17.9")]
)
def test_no_vulnerable_version_is_allowed(metadata: Message, package: str, fine: str, vulnerable: str) -> None:
    """T35: the floors stand above the published advisories."""
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    (requirement,) = [one for one in needed if one.name.lower() == package and one.marker is None]

    assert fine in requirement.specifier
    assert vulnerable not in requirement.specifier


def test_the_metadata_is_whole(metadata: Message) -> None:
    """Name, version, licence and description say what they should."""
    assert metadata["Name"] == "pywry-auth-nb"
    assert metadata["Version"] == pywry_auth_nb.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert len(metadata.get_payload()) > 500


def test_every_command_exists(wheel: Path) -> None:
    """Each console script and plugin points to something that can be called; keyring's, to a module."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        lines = archive.read(name).decode().splitlines()
    targets = [line.partition("=")[2].strip() for line in lines if "=" in line]

    assert targets
    for target in targets:
        module, _, attribute = target.partition(":")
        found = import_module(module)
        assert not attribute or callable(getattr(found, attribute))


# -- installed --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel in it; what it depends on comes from this one."""
    where = tmp_path_factory.mktemp("environment")
    venv.create(where, system_site_packages=True, symlinks=os.name != "nt")
    executable = where / ("Scripts" if os.name == "nt" else "bin") / "python"
    purelib = Path(
        python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))", executable=executable).strip()
    )
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # after the environment's own
    options = ["--quiet", "--no-deps", "--no-index", "--ignore-installed", "--disable-pip-version-check"]
    python("-m", "pip", "--python", executable, "install", *options, wheel)
    return executable


def test_the_extension_is_enabled_once_installed(installed: Path, tmp_path: Path) -> None:
    """``pip install`` enables the server extension, without a second step."""
    where = {"HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1"}
    code = "from jupyter_server.extension.serverextension import main; main(['list'])"
    done = subprocess.run(
        [installed, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **where},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr

    assert str(installed.parents[1] / "etc") in said
    assert "pywry_auth_nb" in said.partition(str(installed.parents[1]))[2]
    (line,) = [line for line in said.splitlines() if "pywry_auth_nb" in line and "enabled" in line]
    assert "OK" in said[said.index(line) :]


def test_the_installed_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    """It is imported from where it was installed, with its front end."""
    code = (
        "import pywry_auth_nb, json; from pathlib import Path; here = Path(pywry_auth_nb.__file__).parent; "
        "from pywry_auth_nb.widget import LoginWidget; "
        "print(json.dumps([str(here), pywry_auth_nb.__version__, len(str(LoginWidget._esm))]))"
    )
    done = subprocess.run([installed, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    where, version, size = json.loads(done.stdout)

    assert where.startswith(str(installed.parents[1]))
    assert version == pywry_auth_nb.__version__
    assert size > 1000


# -- who may know whom ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("session", "from . import server"),
        ("_session/state", "from .. import widget"),
        ("tokens", "from ._io import http"),
        ("server/rate", "from .. import errors"),
        ("a_new_room", "import json"),
    ],
)
def test_an_import_that_is_not_allowed_breaks_the_contract(tmp_path: Path, module: str, line: str) -> None:
    """Every module stands in one of the nine levels, and knows only those below it."""
    shutil.copytree(ROOT / "pywry_auth_nb", tmp_path / "pywry_auth_nb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "pywry_auth_nb" / f"{module}.py").open("a", encoding="utf-8") as planted:
        planted.write(f"\n\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout or "a_new_room" in done.stdout
