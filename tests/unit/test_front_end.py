"""What a kernel knows of where it runs."""

from __future__ import annotations

import pytest

from pywry_auth_nb._sign_in import front_end

ID = "8c24f2cb-384c-4076-9b08-4242afbae22c"


@pytest.mark.parametrize(
    "name",
    [
        f"kernel-{ID}.json",
        f"kernel-{ID}_q7_x1f2.json",  # of a launcher of Enterprise Gateway on another machine
    ],
)
def test_the_servers_id_of_the_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ID stands in the name of the connection file, also where a gateway's launcher has added to it."""
    monkeypatch.setattr("ipykernel.connect.get_connection_file", lambda: f"/run/{name}")

    assert front_end.kernel_id() == ID


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/usr/bin/python3", "/usr/bin/jupyter-run", "program.py"], True),
        (["/usr/bin/jupyter-run", "program.py"], True),
        (["python", "-m", "jupyter_client.runapp", "program.py"], True),
        (["python", "/usr/bin/jupyter-lab", "jupyter-run"], False),
        (["python", "-m", "jupyter_console", "jupyter_client.runapp"], False),
        ([], False),
    ],
)
def test_jupyter_run_is_known_by_its_command(command: list[str], expected: bool) -> None:
    """It says that it takes input, and fails when it is asked for some, so it must not be."""
    assert front_end._is_jupyter_run(command) is expected
