"""The keyring: checked before the first sign-in, and consistent after a write that was interrupted."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import keyring.core
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError

from pywry_auth_nb._io import keyring as _keyring
from pywry_auth_nb.errors import TokenStoreError
from pywry_auth_nb.token_store import KeyringTokenStore, base, make_encryption_key
from pywry_auth_nb.token_store import keyring as keyring_store
from tests.stores.asking import loaded, refused, save
from tests.stores.servers import SecretService
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pywry_auth_nb import OAuthTokenSet


class FakeKeyring(KeyringBackend):
    """A dictionary with Windows' limits: 2,560 bytes of UTF-16 in an entry, and one entry per service."""

    viable = False  # keyring must not find it by itself
    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, tuple[str, str]] = {}
        self.changes_left = 10**9
        self.before_change: Callable[[], object] = lambda: None

    def get_password(self, service: str, username: str) -> str | None:
        """Return the entry if it is this user's."""
        owner, password = self.entries.get(service, (None, None))
        return password if owner == username else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Write the entry, or fail as Windows does."""
        self._change()
        if len(password.encode("utf-16-le")) > 2560:
            raise OSError(1783, "The stub received bad data", "CredWrite")
        assert self.entries.get(service, (username,))[0] == username, "Windows would rename the other user's entry"
        self.entries[service] = (username, password)

    def delete_password(self, service: str, username: str) -> None:
        """Remove the entry."""
        self._change()
        if self.get_password(service, username) is None:
            raise PasswordDeleteError(service)
        del self.entries[service]

    def _change(self) -> None:
        self.before_change()
        if self.changes_left <= 0:
            raise OSError("the program is dead, and CANARY is not to be repeated")
        self.changes_left -= 1


class Plaintext(FakeKeyring):
    """As those of keyrings.alt."""

    priority = 0.5


class ReadOnly(FakeKeyring):
    """A backend to which a chain cannot write."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Leave it to the next of the chain."""
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        """Leave it to the next of the chain."""
        raise NotImplementedError


def chain(*members: KeyringBackend) -> ChainerBackend:
    """Return a chain of those backends, which keyring would otherwise look for."""
    return type("Chain", (ChainerBackend,), {"backends": list(members), "priority": 10, "viable": False})()


def use(backend: KeyringBackend) -> None:
    """Make it the keyring of this process; a fixture undoes it."""
    keyring.core._keyring_backend = backend


@pytest.fixture(autouse=True)
def as_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are small everywhere."""
    monkeypatch.setattr(keyring_store, "CHUNK", 1200)


@pytest.fixture
def fake() -> FakeKeyring:
    """The process's keyring."""
    backend = FakeKeyring()
    use(backend)
    return backend


# -- what is found out in the constructor -----------------------------------------------------------------------------


def test_no_keyring() -> None:
    """R26: Without a session bus, as in a container, the constructor says what to install or use instead."""
    error = refused(KeyringTokenStore)

    assert error.code == "store_missing"
    assert "gnome-keyring" in str(error)
    assert "FileTokenStore" in str(error)


@pytest.mark.parametrize("backend", ["keyring.backends.null.Keyring", "no.such.Keyring", "keyring.core.Nothing"])
def test_an_unusable_keyring(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R28: The null backend drops what it is given; a backend that is not installed cannot be loaded."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)

    assert refused(KeyringTokenStore).code == "store_missing"


@pytest.mark.parametrize(
    ("backend", "good"),
    [
        (FakeKeyring(), True),
        (Plaintext(), False),
        (chain(FakeKeyring(), Plaintext()), True),
        (chain(ReadOnly(), FakeKeyring()), True),
        (chain(Plaintext(), FakeKeyring()), False),
        (chain(ReadOnly(), Plaintext()), False),
        (chain(), False),
    ],
    ids=["good", "plain", "good first", "read-only first", "plain first", "plain behind read-only", "empty"],
)
def test_plain_text(backend: KeyringBackend, good: bool) -> None:
    """A backend that stores plain text is refused, also in a chain, where the one that is written to counts."""
    use(backend)
    if good:
        KeyringTokenStore()
    else:
        assert refused(KeyringTokenStore).code == "store_missing"


def test_plain_text_with_a_key() -> None:
    """With an encryption key, a plain-text keyring will do, and sees no token."""
    backend = Plaintext()
    use(backend)
    store = KeyringTokenStore(encryption_key=make_encryption_key())

    save(store)

    assert loaded(store) == "CANARY-at"
    assert "CANARY" not in str(backend.entries)


def test_the_self_test_leaves_nothing(fake: FakeKeyring) -> None:
    """What the constructor tries, it removes."""
    KeyringTokenStore()

    assert fake.entries == {}


def test_a_keyring_that_hangs(fake: FakeKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """R27: A keyring that waits for a password raises after a deadline: in the constructor and later."""

    def workers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "pywry-auth-io"}

    def hang() -> None:
        hanging.release()
        release.wait()

    before = workers()
    hanging, release = threading.Semaphore(0), threading.Event()
    store = KeyringTokenStore()
    fake.before_change = hang
    with monkeypatch.context() as short:
        short.setattr(_keyring, "PROMPT_DEADLINE", 0.1)
        short.setattr(base, "DEADLINE", 0.1)
        short.setattr(keyring_store, "DEADLINE", 0.1)
        errors = [refused(KeyringTokenStore), refused(lambda: save(store, "x" * 3000))]
        assert all(hanging.acquire(timeout=30) for _ in errors)  # both have begun, so that their time ends as well
        over = time.monotonic() + 0.1
        until(lambda: time.monotonic() > over)
    release.set()
    until(lambda: not workers() - before, "it is still at work")

    assert {error.code for error in errors} == {"store_unavailable"}
    assert all("Unlock it" in str(error) for error in errors)
    assert loaded(store) is None  # what was given up is not completed behind the caller's back


@pytest.mark.parametrize(
    ("raised", "code", "advice"),
    [
        (KeyringLocked("CANARY"), "store_unavailable", "Unlock it"),
        (
            PasswordSetError("Can't store password on keychain: (-25308, 'CANARY')"),
            "store_unavailable",
            "security unlock",
        ),
        (
            PasswordSetError("Can't store password on keychain: (-25293, 'CANARY')"),
            "store_unavailable",
            "security unlock",
        ),
        (OSError(1783, "The stub received bad data CANARY"), "store_unavailable", "OSError"),
        (RuntimeError("CANARY"), "store_missing", "PYTHON_KEYRING_BACKEND"),
    ],
)
def test_errors_of_backends(fake: FakeKeyring, raised: Exception, code: str, advice: str) -> None:
    """R27, R30: Whatever a backend raises becomes our error with advice, and without the backend's words."""

    def fail() -> None:
        raise raised

    store = KeyringTokenStore()
    fake.before_change = fail

    error = refused(lambda: save(store))

    assert error.code == code
    assert advice in str(error)
    assert error.__cause__ is error.__context__ is None


# -- long records -----------------------------------------------------------------------------------------------------


def test_long_records_are_split(fake: FakeKeyring, tokens: OAuthTokenSet) -> None:
    """R29, B18: Windows takes 2,560 bytes of UTF-16: longer records lie in several entries."""
    store = KeyringTokenStore("pywry-oauth")

    asyncio.run(store.save("default", tokens))

    assert asyncio.run(store.load("default")) == tokens
    assert max(len(password) for _, password in fake.entries.values()) == 1200
    assert len([service for service in fake.entries if "/a/" in service or "/b/" in service]) == 4


def test_nothing_is_left(fake: FakeKeyring) -> None:
    """Records that grow and shrink leave no old chunk, and a deleted one leaves nothing but the empty index."""
    store = KeyringTokenStore()
    for size, entries in ((3000, 5), (9000, 10), (10, 2), (9000, 10), (2000, 4)):
        save(store, "x" * size)
        assert len(fake.entries) == entries

    asyncio.run(store.delete("default"))

    assert [password for _, password in fake.entries.values()] == ["[]"]


@pytest.mark.parametrize(("old", "new"), [(3000, 5000), (5000, 3000), (10, 3000), (3000, 10), (3000, 3000)])
def test_killed_between_two_entries(fake: FakeKeyring, old: int, new: int) -> None:
    """R29: Killed at any point of a write, it leaves the old record or the new one; deleting finds all of it."""
    for changes in range(100):
        store = KeyringTokenStore()
        save(store, "o" * old)
        fake.changes_left = changes
        completed = _try(partial(save, store, "n" * new))
        fake.changes_left = 10**9

        assert loaded(store) in {"CANARY" + "o" * old, "CANARY" + "n" * new}
        if completed:
            break
        _try_to_delete_after(fake, store, changes)
    assert completed


def _try_to_delete_after(fake: FakeKeyring, store: KeyringTokenStore, changes: int) -> None:
    """Delete, killed as well after some changes, then delete for good: nothing may stay behind."""
    fake.changes_left = changes
    if not _try(lambda: asyncio.run(store.delete("default"))) and changes:
        assert loaded(store) is None
    fake.changes_left = 10**9
    asyncio.run(store.delete("default"))
    assert [password for _, password in fake.entries.values()] == ["[]"]


def _try(action: Callable[[], object]) -> bool:
    try:
        action()
    except TokenStoreError:
        return False
    return True


def test_chunks_that_are_lost(fake: FakeKeyring) -> None:
    """A record with a removed or changed chunk is an error; signing in again replaces it."""
    store = KeyringTokenStore()
    save(store, "x" * 3000)
    (chunk,) = [service for service in fake.entries if service.endswith("/1")]
    del fake.entries[chunk]

    assert refused(lambda: loaded(store)).code == "store_unreadable"
    save(store, "y" * 3000)
    assert loaded(store) == "CANARY" + "y" * 3000


def test_many_keys(fake: FakeKeyring) -> None:
    """The index grows beyond one entry; a damaged one fills again."""
    store = KeyringTokenStore()
    keys = [f"user-{number:03}@example.org" for number in range(80)]
    for key in keys:
        save(store, key=key)
    assert asyncio.run(store.list_keys()) == keys

    fake.entries["pywry-oauth/index"] = ("pywry-auth", "junk")

    assert asyncio.run(store.list_keys()) == []
    save(store, key="ada")
    assert asyncio.run(store.list_keys()) == ["ada"]
    assert loaded(store, keys[0]) == "CANARY-at"


def test_deleting_that_fails(fake: FakeKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is reported: PyWry swallowed it, and said "logged out" while the secret stayed."""
    store = KeyringTokenStore()
    save(store)

    def refuse(_service: str, _username: str) -> None:
        raise PasswordDeleteError("not allowed")

    monkeypatch.setattr(fake, "delete_password", refuse)

    assert "did not delete" in str(refused(lambda: asyncio.run(store.delete("default"))))
    assert asyncio.run(store.exists("default"))


def test_two_services(fake: FakeKeyring) -> None:
    """Stores of two names share nothing, and an encrypted record of one does not open in the other."""
    key = make_encryption_key()
    one, two = (KeyringTokenStore(name, encryption_key=key) for name in ("one", "two"))
    save(one)
    assert loaded(two) is None

    fake.entries |= {name.replace("one/", "two/"): entry for name, entry in fake.entries.items()}

    assert refused(lambda: loaded(two)).code == "store_unreadable"


# -- the real Secret Service ------------------------------------------------------------------------------------------


def test_encrypted(secret_service: SecretService, tokens: OAuthTokenSet) -> None:
    """Encryption and chunks together, in the real keyring, seen by a second store of the same name and key."""
    key = make_encryption_key()
    asyncio.run(KeyringTokenStore("pywry-encrypted", encryption_key=key).save("default", tokens))

    assert asyncio.run(KeyringTokenStore("pywry-encrypted", encryption_key=key).load("default")) == tokens


def test_killed_for_real(secret_service: SecretService) -> None:
    """A program killed in the middle of its writes leaves a record that can be read, and a lock that is free."""
    program = """
import asyncio
from pywry_auth_nb import OAuthTokenSet
from pywry_auth_nb.token_store import KeyringTokenStore, keyring
keyring.CHUNK = 1200
store = KeyringTokenStore("pywry-killed")
for number in range(10**6):
    asyncio.run(store.save("default", OAuthTokenSet("CANARY" + str(number % 10) * 3000)))
    print(number, flush=True)
"""
    store = KeyringTokenStore("pywry-killed")
    for delay in (0.03, 0.07):
        writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.communicate(timeout=10)

        text = loaded(store)

        assert text is not None
        assert len(set(text.removeprefix("CANARY"))) == 1
        assert len(text) == 3006


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # keyring leaves a socket where it fails
def test_locked_and_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """R27: A collection that is locked and cannot be unlocked, and a daemon that died, are errors with advice."""
    import secretstorage

    monkeypatch.setattr(base, "DEADLINE", 3.0)
    with SecretService() as service:
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)
        store = KeyringTokenStore()
        save(store)
        connection = secretstorage.dbus_init()
        secretstorage.get_default_collection(connection).lock()
        connection.close()

        locked = refused(lambda: loaded(store))
        service.stop()
        gone = refused(lambda: loaded(store))
    gc.collect()  # the sockets, while their warning is expected

    assert locked.code == gone.code == "store_unavailable"
    assert "nlock" in str(locked)


# -- secrets for settings ---------------------------------------------------------------------------------------------


def test_read_secret(fake: FakeKeyring) -> None:
    """A client secret that the user put there is read, and hides itself."""
    fake.set_password("pywry-oauth-client", "notebook", "CANARY-secret")

    secret = _keyring.read_secret("pywry-oauth-client", "notebook")

    assert secret == "CANARY-secret"
    assert "CANARY" not in repr(secret)
    assert _keyring.read_secret("pywry-oauth-client", "somebody") is None


def test_read_secret_without_a_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a keyring it raises its own error; one that hangs raises after a deadline."""
    assert refused(lambda: _keyring.read_secret("service", "user")).code == "store_missing"

    def hang(*_: Any) -> None:
        time.sleep(1)

    use(FakeKeyring())
    monkeypatch.setattr(_keyring, "PROMPT_DEADLINE", 0.1)
    monkeypatch.setattr(FakeKeyring, "get_password", hang)
    assert refused(lambda: _keyring.read_secret("service", "user")).code == "store_unavailable"


def test_the_locks_lie_in_the_users_folder(fake: FakeKeyring) -> None:
    """Lock files are in the home of the user who runs the process, readable by that user alone."""
    store = KeyringTokenStore()
    save(store)

    assert os.path.expanduser("~") in str(store._locks.folder)  # noqa: PTH111
    assert store._locks.folder.is_dir()
    assert repr(store) == "<KeyringTokenStore pywry-oauth>"
