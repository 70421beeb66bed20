"""Files: private to their owner, whole at every moment, and never locked by a program that has ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pywry_auth_nb.errors import TokenStoreError
from pywry_auth_nb.token_store import FileTokenStore, base, locks
from pywry_auth_nb.token_store.locks import Locks
from tests.stores.asking import loaded, refused, said, save
from tests.support.waiting import within

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no modes, signals or fork")

PRELUDE = """
import asyncio, os, resource, signal, sys, time
from pathlib import Path
from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.errors import TokenStoreError
from pywry_auth_nb.token_store import FileTokenStore, locks
store = FileTokenStore(sys.argv[1])
def save(text, key="default"):
    asyncio.run(store.save(key, OAuthTokenSet("CANARY" + text)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the tokens go; not there so far."""
    return tmp_path / "tokens"


@pytest.fixture
def store(folder: Path) -> FileTokenStore:
    """A store there."""
    return FileTokenStore(folder)


def start(program: str, folder: Path) -> subprocess.Popen[str]:
    """Start a program that has a store in ``folder``."""
    command = [sys.executable, "-c", PRELUDE + program, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@posix
def test_only_the_owner_may_read(store: FileTokenStore, folder: Path) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
    old = os.umask(0)
    try:
        save(store)
    finally:
        os.umask(old)

    modes = {path.relative_to(folder).parts[0]: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert folder.stat().st_mode & 0o777 == modes.pop("locks") | 0o100 == 0o700
    assert set(modes.values()) == {0o600}
    assert (folder / "locks").stat().st_mode & 0o777 == 0o700


@posix
@pytest.mark.parametrize("mask", [0, 0o22])
def test_folders_above_are_private_too(tmp_path: Path, mask: int) -> None:
    """A missing folder above the tokens is made for its owner only, whatever the umask; one that is there stays."""
    old = os.umask(mask)
    try:
        save(FileTokenStore(tmp_path / "ours" / "too" / "tokens"))
    finally:
        os.umask(old)

    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("ours", "ours/too", "ours/too/tokens")] == [0o700] * 3


def test_names_are_for_people_and_for_any_system(store: FileTokenStore, folder: Path) -> None:
    """A file's name begins with the key and holds nothing that a file system may refuse."""
    save(store, key="ada@example.org/../CON:" + "x" * 300)

    (file,) = folder.glob("*.tokens")
    assert file.name.startswith("ada_example_org____CON_")
    assert len(file.name) < 100


def test_the_default_folder(tmp_path: Path) -> None:
    """Without a path, it is the one that the system has for applications' data; reading does not make it."""
    store = FileTokenStore()

    assert tmp_path in store.path.parents
    assert loaded(store) is None
    assert asyncio.run(store.list_keys()) == []
    assert not store.path.exists()


@posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o1777])
def test_a_folder_that_others_may_write_to(store: FileTokenStore, folder: Path, mode: int) -> None:
    """A folder that others may write to is neither written nor read: they could put their own tokens there."""
    save(store)
    folder.chmod(mode)

    for action in (lambda: save(store), lambda: loaded(store), lambda: asyncio.run(store.list_keys())):
        assert refused(action).code == "store_forbidden"


@posix
@pytest.mark.parametrize("name", ["", "locks"])
def test_a_link(store: FileTokenStore, folder: Path, tmp_path: Path, name: str) -> None:
    """A folder that is a link to somewhere else is refused (CVE-2025-68146 was one for locks)."""
    (tmp_path / "elsewhere").mkdir()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")

    assert refused(lambda: save(store)).code == "store_forbidden"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may give a folder to another user")
def test_a_folder_of_another_user(store: FileTokenStore, folder: Path) -> None:
    """A folder of another user is refused: its owner can change what is in it."""
    folder.mkdir()
    os.chown(folder, 12345, 12345)

    assert "another user" in str(refused(lambda: save(store)))


def test_a_path_that_cannot_be_a_folder(tmp_path: Path) -> None:
    """Where no folder can be made, the error names the path and the reason."""
    (tmp_path / "file").touch()

    error = refused(lambda: save(FileTokenStore(tmp_path / "file" / "tokens")))

    assert error.code == "store_unavailable"
    assert str(tmp_path / "file") in str(error)


@posix
def test_full_disk(store: FileTokenStore, folder: Path) -> None:
    """R31: When the disk takes no more, saving fails, and the old record is whole."""
    save(store, "-old")

    program = start(
        """
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    save("x" * 10_000)
except TokenStoreError as error:
    print(error.code, "CANARY" in str(error))
""",
        folder,
    )

    assert said(program) == "store_unavailable False"
    assert loaded(store) == "CANARY-old"
    assert not list(folder.glob(".*"))


@posix
@pytest.mark.parametrize("moment", ["os.fsync", "Path.replace"])
def test_killed_while_writing(store: FileTokenStore, folder: Path, moment: str) -> None:
    """R02: A writer that is killed leaves the old record; what it left besides is removed by the next."""
    save(store, "-old")
    program = start(f"{moment} = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\nsave('-new')", folder)

    program.communicate(timeout=30)

    assert program.returncode == -signal.SIGKILL
    assert len(list(folder.glob(".*.tmp"))) == 1
    assert loaded(store) == "CANARY-old"
    assert asyncio.run(store.list_keys()) == ["default"]
    save(store, "-next")
    assert loaded(store) == "CANARY-next"
    assert not list(folder.glob(".*.tmp"))


@posix
def test_killed_at_any_time(store: FileTokenStore, folder: Path) -> None:
    """Writers that are killed at random moments never leave a record that cannot be read, nor a lock that stays."""
    program = "for number in range(10**9): save('-' + 'x' * 20_000); print(number, flush=True)"
    for delay in range(4):
        writer = start(program, folder)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.005 * delay)
        writer.kill()
        writer.communicate(timeout=10)
        with within(5):  # no lock stays
            assert loaded(store) == "CANARY-" + "x" * 20_000
            save(store)


def test_several_processes(store: FileTokenStore, folder: Path) -> None:
    """Programs that write one record and list all of them at once neither fail nor see half a record."""
    program = """
for number in range(30):
    save(sys.argv[1][:1] * (200 if number % 2 else 20_000))
    save("-own", key=f"{os.getpid()}")
    tokens = asyncio.run(store.load("default"))
    assert len(set(tokens.access_token.removeprefix("CANARY"))) == 1
    assert "default" in asyncio.run(store.list_keys())
print("good")
"""
    programs = [start(program, folder) for _ in range(3)]

    assert [said(each) for each in programs] == ["good"] * 3
    assert len(asyncio.run(store.list_keys())) == 4


@posix
def test_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another program holds has a deadline, ends with that program, and its file stays."""
    monkeypatch.setattr(locks, "LOCK_DEADLINE", 0.2)
    mine = Locks(tmp_path / "locks")
    holder = start(
        "with locks.Locks(Path(sys.argv[1])).hold('name'): print('held', flush=True); time.sleep(60)", mine.folder
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    with pytest.raises(TokenStoreError, match="Another program") as caught, mine.hold("name"):
        pass
    with mine.hold("other"):
        pass
    holder.kill()
    holder.communicate(timeout=10)
    with mine.hold("name"):
        pass

    assert caught.value.code == "store_unavailable"
    assert len(list(mine.folder.iterdir())) == 2


@posix
def test_fork_while_a_lock_is_held(folder: Path) -> None:
    """A forked child that is alone waits for its parent's locks, and gets those that no thread of its own holds."""
    program = """
import threading
held, go = threading.Event(), threading.Event()
mine = locks.Locks(Path(sys.argv[1]) / "x")
def hold():
    with mine.hold("name"):
        held.set(); go.wait()
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    with mine.hold("name"):
        save("-child")
    os._exit(0)
time.sleep(0.2)
assert os.waitpid(child, os.WNOHANG) == (0, 0)
go.set()
assert os.waitpid(child, 0)[1] == 0
print(asyncio.run(store.load("default")).access_token)
"""
    child = start("import warnings; warnings.simplefilter('ignore')\n" + program, folder)

    assert said(child) == "CANARY-child"


def test_a_file_of_another_name(store: FileTokenStore, folder: Path) -> None:
    """A file that was renamed, cut or replaced by junk is not another key's tokens; signing in again replaces it."""
    save(store, "-a", key="a")
    save(store, "-b", key="b")
    (a, b) = sorted(folder.glob("*.tokens"))
    b.write_bytes(a.read_bytes())
    a.write_bytes(b"")

    assert {refused(lambda key=key: loaded(store, key)).code for key in "ab"} == {"store_unreadable"}
    assert asyncio.run(store.list_keys()) == []
    save(store, "-new", key="b")
    assert loaded(store, "b") == "CANARY-new"


def test_a_folder_that_does_not_answer(store: FileTokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network drive that hangs raises after a deadline and does not block the kernel."""
    monkeypatch.setattr(base, "DEADLINE", 0.2)
    monkeypatch.setattr(store, "_read_file", lambda _key: time.sleep(1))

    assert "network drive" in str(refused(lambda: loaded(store)))


def test_repr(store: FileTokenStore) -> None:
    """A store says where it is and whether it encrypts."""
    assert repr(store) == f"<FileTokenStore {store.path}, plain text>"
