"""YAML libraries choose how to write a value by its class: a token is written as the string that it is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
import zipimport
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pywry_auth_nb import AccessToken
from pywry_auth_nb.tokens import Secret, bearer
from tests.support.cases import case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

VALUE = "CANARY-" + "x" * 40


class Own(AccessToken):
    """A subclass of a user's own."""

    __slots__ = ()


WRITERS: dict[str, Any] = {
    "safe_dump": yaml.safe_dump,
    "dump": yaml.dump,
    "dump_all": lambda data: yaml.dump_all([data]),
    "a dumper of a program's own": lambda data: yaml.dump(data, Dumper=type("Own", (yaml.SafeDumper,), {})),
    **({"C": lambda data: yaml.dump(data, Dumper=yaml.CSafeDumper)} if yaml.__with_libyaml__ else {}),
}


def test_a_token_is_a_plain_string_in_yaml() -> None:
    """A configuration with tokens is written without tags, in every way, and read back by any reader."""
    secrets = [AccessToken(VALUE), Secret(VALUE), Own(VALUE), bearer(VALUE)]
    for (name, write), secret in [(writer, secret) for writer in WRITERS.items() for secret in secrets]:
        with case(name, type(secret).__name__):
            text = write({"user": {"token": secret}, "plain": "x", secret: [secret]})

            assert "!" not in text
            assert yaml.safe_load(text) == {"user": {"token": str(secret)}, "plain": "x", str(secret): [str(secret)]}


def test_other_strings_are_still_not_written() -> None:
    """No class but ours is taught: what a library refuses, it refuses."""

    class Other(str):
        __slots__ = ()

    with pytest.raises(yaml.representer.RepresenterError):
        yaml.safe_dump(Other("x"))


OURS = "from pywry_auth_nb import AccessToken; imported = 'yaml' in sys.modules"
RELOAD = "importlib.reload(yaml.representer); importlib.reload(yaml.dumper); importlib.reload(yaml)"
#: Programs, and whether YAML is there when a token's class has been imported.
PROGRAMS = {
    "yaml first": (f"import yaml; {OURS}", True),
    "yaml later": (f"{OURS}; import yaml", False),
    "yaml again": (f"{OURS}; import importlib, yaml; {RELOAD}", False),
}


@pytest.mark.parametrize("order", PROGRAMS)
def test_the_order_of_imports_does_not_matter(order: str) -> None:
    """The library learns of tokens whether it is imported before, after or again; importing ours does not import it."""
    program, imported = PROGRAMS[order]
    program = f"import sys; {program}; print(imported, yaml.safe_dump([AccessToken('abc')]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == (f"{imported} - abc\n\n", "")


SAFE = """
class SafeRepresenter:
    taught = {}

    @classmethod
    def add_multi_representer(cls, kind, how):
        cls.taught[kind] = how

    def represent_str(self, text):
        return type(text), text

represent_str = lambda: None
represent_str.represent_str = represent_str
"""


@pytest.fixture
def ruamel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A zip file, on the path, with a package that is called and built as ``ruamel.yaml``."""
    archive = tmp_path / "lib.zip"
    with zipfile.ZipFile(archive, "w") as lib:
        lib.writestr("ruamel/__init__.py", "")
        lib.writestr("ruamel/yaml/__init__.py", "from .representer import SafeRepresenter\nfrom . import main\n")
        lib.writestr("ruamel/yaml/representer.py", SAFE)
        lib.writestr("ruamel/yaml/main.py", "")
    monkeypatch.syspath_prepend(archive)
    before = of_ruamel()
    for name in before:
        del sys.modules[name]
    yield archive
    for name in of_ruamel():
        del sys.modules[name]
    sys.modules.update(before)


def of_ruamel() -> dict[str, ModuleType]:
    """The modules of ``ruamel`` that are imported."""
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "ruamel"}


def test_ruamel_learns_it_too(ruamel: Path) -> None:
    """``ruamel.yaml`` is taught in the same way when it is imported; what only looks like a representer is let be."""
    representer = importlib.import_module("ruamel.yaml").SafeRepresenter

    assert representer.taught[Secret](representer(), AccessToken(VALUE)) == (str, VALUE)


def test_a_loader_is_left_alone(ruamel: Path) -> None:
    """The loader that a YAML library shares with other packages, as in a zip file, is the same as without us."""
    before = vars(zipimport.zipimporter(str(ruamel))).keys()
    module = importlib.import_module("ruamel.yaml.representer")

    assert vars(module.__loader__).keys() == before


def test_other_finders_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program's own way to find a YAML library is used: ours finds no module, not even those."""
    asked = []

    class Own(MetaPathFinder):
        def find_spec(self, fullname: str, *_: Any) -> None:
            asked.append(fullname)

    python_s = sys.meta_path.index(PathFinder)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path[:python_s], Own(), *sys.meta_path[python_s:]])
    monkeypatch.delitem(sys.modules, "yaml.representer")

    assert importlib.util.find_spec("yaml.representer") is not None
    assert "yaml.representer" in asked
