"""Records that no kernel has written like that, and disks on which nothing can be written."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import Kernel, Place, Provider
from tests.faults.worker import hashed
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., list[Kernel]]

KEYS = ["A" * 43 + "=", "B" * 43 + "="]  # two encryption keys


def truncated(record: bytes) -> bytes:
    """Half of it."""
    return record[: len(record) // 2]


def flipped(record: bytes) -> bytes:
    """A bit of its first member's name is another: it is still JSON, and makes no sense."""
    return record.replace(b'"tokens"', b'"tokenr"')


def emptied(_: bytes) -> bytes:
    """No JSON at all, as after a power cut on some file systems."""
    return b" "


DAMAGES = [truncated, flipped, emptied]  # by the disk, or by a manual edit


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_does_not_block_a_sign_in(
    place: Place, idp: Provider, start: Start, damage: Callable[[bytes], bytes]
) -> None:
    """R25: a kernel that starts on it reports the damage, and a new sign-in replaces it for all."""
    place.sign_in(left=3600)
    place.lay(damage(place.raw()))
    first, second = start(place, 2)

    for kernel in (first, second):
        assert kernel.ask("read")["error"] == "LoginRequired"
        assert kernel.ask("look")["problem"] == "store_unreadable"
    tokens = idp.tokens()
    first.ask("sign_in", **tokens)

    first.reads(hashed(tokens["access_token"]))
    second.reads(hashed(tokens["access_token"]))
    assert first.ask("look")["problem"] is second.ask("look")["problem"] is None
    assert idp.asked() == 0


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_under_a_running_kernel_is_mended(
    place: Place, idp: Provider, start: Start, damage: Callable[[bytes], bytes]
) -> None:
    """R25: a kernel that knows the tokens goes on, and puts them back."""
    place.sign_in(left=3600)
    [kernel] = start(place, 1)
    token = kernel.token()
    place.lay(damage(place.raw()))

    assert kernel.token() == token
    until(lambda: readable(place))
    [next_one] = start(place, 1)
    assert next_one.token() == token
    assert idp.asked() == 0


def test_a_record_of_a_newer_version_is_left_alone(on_file: Place, idp: Provider, start: Start) -> None:
    """R25: an old kernel says that it is too old, and neither uses nor replaces what it does not understand."""
    on_file.sign_in()
    newer = json.dumps({"v": 99, "tokens": "in some new way"}).encode()
    on_file.lay(newer)
    [kernel] = start(on_file, 1)

    assert kernel.ask("read")["error"] == "LoginRequired"
    assert kernel.ask("look")["problem"] == "store_version"
    assert on_file.raw() == newer
    assert idp.asked() == 0


def test_a_record_of_a_newer_version_gives_way_to_a_sign_in(on_file: Place, idp: Provider, start: Start) -> None:
    """R25: signing in is a person's decision, and it replaces even that."""
    on_file.sign_in()
    on_file.lay(json.dumps({"v": 99, "tokens": "in some new way"}).encode())
    first, second = start(on_file, 2)
    tokens = idp.tokens()

    first.ask("sign_in", **tokens)

    first.reads(hashed(tokens["access_token"]))
    second.reads(hashed(tokens["access_token"]))
    assert first.ask("look")["problem"] is None


def test_another_ones_record_does_not_open(
    on_file: Place, idp: Provider, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R25: an encrypted record is bound to its name: under another, it is damaged, and its tokens stay secret."""
    on_file.store["encryption_key"] = KEYS[0]
    on_file.sign_in(left=3600)
    mine = on_file.raw()
    monkeypatch.setenv("JUPYTERHUB_USER", "somebody-else")
    on_file.sign_in(left=3600)
    on_file.lay(mine)
    [kernel] = start(on_file, 1)

    assert kernel.ask("read")["error"] == "LoginRequired"
    assert kernel.ask("look")["problem"] == "store_unreadable"
    assert idp.asked() == 0


def test_a_record_of_another_key_is_left_alone(on_file: Place, idp: Provider, start: Start) -> None:
    """R25: a kernel with another encryption key says so, and replaces nothing."""
    on_file.store["encryption_key"] = KEYS[0]
    on_file.sign_in(left=3600)
    record = on_file.raw()
    other = Place(idp, **{**on_file.store, "encryption_key": KEYS[1]})
    [kernel] = start(other, 1)

    assert kernel.ask("read")["error"] == "LoginRequired"
    assert kernel.ask("look")["problem"] == "store_key"
    assert on_file.raw() == record
    assert idp.asked() == 0


def readable(place: Place) -> bool:
    """Whether there are tokens."""

    async def read(store: Any) -> bool:
        return (await store.read(place.key)).tokens is not None

    return bool(place.with_store(read))


# -- a disk that is full ------------------------------------------------------------------------------------------


@pytest.fixture
def disk(on_file: Place, tmp_path: Path) -> Iterator[Disk]:
    """A disk that can be full: a small one, or else, where we may not mount any, a limit for each file."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(where)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    on_file.store["path"] = str(where / "tokens")
    try:
        yield Disk(where / "big" if mounted else None)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(where)], check=True)


class Disk:
    """Real errors of the operating system: ENOSPC, or EFBIG."""

    def __init__(self, big: Path | None) -> None:
        self._big = big

    def fill(self, kernel: Kernel) -> None:
        """Leave no room."""
        if self._big is None:
            kernel.ask("limit", size=100)
            return
        with self._big.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # ENOSPC
            while file.write(bytes(512)):
                pass

    def clear(self, kernel: Kernel) -> None:
        """Make room again."""
        if self._big is None:
            kernel.ask("limit", size=0)
        else:
            self._big.unlink()


def test_a_disk_that_is_full(on_file: Place, disk: Disk, idp: Provider, start: Start) -> None:
    """R31: new tokens stay in memory, the session says so, and they are stored once there is room again."""
    on_file.sign_in(left=3600)
    before = on_file.raw()
    renews, waits = start(on_file, 2)
    old = waits.token()
    disk.fill(renews)

    new = renews.ask("refresh")["token"]
    assert renews.token() == new
    assert renews.ask("look")["problem"] == "store_unavailable"
    assert on_file.raw() == before
    assert waits.token() == old
    assert idp.asked() == 1

    disk.clear(renews)
    until(on_file.lives)
    waits.reads(new)
    assert renews.ask("look")["problem"] is None
    assert idp.asked() == 1


def test_no_other_kernel_uses_a_spent_refresh_token(on_file: Place, disk: Disk, idp: Provider, start: Start) -> None:
    """R31: the refresh token in the store is spent: other kernels wait until the new one is stored."""
    on_file.sign_in(left=3600)
    renews, waits = start(on_file, 2, changes={"_session.refresher.LEASE_DEADLINE": 1.0})
    waits.token()
    disk.fill(renews)
    new = renews.ask("refresh")["token"]

    assert waits.ask("refresh")["code"] == "refresh_busy"
    disk.clear(renews)

    until(lambda: waits.token() == new)
    assert idp.asked() == 1
    assert on_file.lives()
