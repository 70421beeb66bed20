"""The recipes run from top to bottom, and what they have made follows a renewal of the token.

The clients are real; the services are stand-ins on loopback, which refuse a token that has been renewed. What a page
sets up begins with an import: after the renewal, all its other blocks are run once more.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from tests.documents.flight_sql import FlightSql
from tests.documents.pages import ROOT, Block
from tests.documents.services import DATABASE, PRODUCTS, Services
from tests.documents.test_documents import PAGES, RECIPES, Reader, reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pywry_auth_nb import SessionManager
    from tests.documents.pages import Page
    from tests.documents.wire import Internet

__all__ = ["reader"]  # a fixture

[INDEX] = [page for page in PAGES if page.name == f"{RECIPES}README.md"]
#: Variables of this machine that clients look at.
OTHERS = ("ANTHROPIC_", "AWS_", "GOOGLE_APPLICATION_", "GOOGLE_CLOUD_", "OPENAI_", "PG")
ADDRESSES = {*PRODUCTS, DATABASE}
PAGES_OF_RECIPES = [page for page in PAGES if page.name.startswith(RECIPES) and page is not INDEX]


@pytest.fixture
def services(tmp_path: Path, environment: pytest.MonkeyPatch) -> Iterator[Services]:
    """The services, and clients that find them."""
    for name in [name for name in os.environ if name.startswith(OTHERS)]:
        environment.delenv(name)
    folder = tmp_path / "services"
    folder.mkdir()
    with ExitStack() as stack:
        services = Services(stack, folder)
        for name, value in (services.settings() | {"GIT_TERMINAL_PROMPT": "0"}).items():
            environment.setenv(name, value)
        environment.setitem(sys.modules, "adbc_driver_flightsql", ModuleType("adbc_driver_flightsql"))
        environment.setitem(sys.modules, "adbc_driver_flightsql.dbapi", FlightSql(services.takes))
        yield services


def sets_up(block: Block) -> bool:
    """Whether a block makes what the others use."""
    return block.first_line.startswith(("import ", "from "))


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES_OF_RECIPES])
def test_a_recipe_runs_and_follows_a_renewal(
    page: Page, reader: Reader, services: Services, internet: Internet, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """Every service that it names takes what its client sends, before and after; the old token is refused."""
    github: Any = internet.provider_at("github.com")
    github.expiring = True  # as for a GitHub App
    reader.blanks = services.blanks_in(page.text) | {"pywry-auth git": f"{sys.executable} -m pywry_auth_nb git"}
    uses = [block for block in page.blocks if not sets_up(block)]

    for blocks in ([*set_up_of(page), *page.blocks], uses):
        environment.chdir(tempfile.mkdtemp(dir=tmp_path))
        services.accepted.clear()
        for block in blocks:
            reader.run(block)

        assert services.accepted.keys() >= reader.blanks.keys() & ADDRESSES
        renew(reader.names["session"], services)


def set_up_of(page: Page) -> tuple[Block, ...]:
    """The block of the index that signs in, for a page that does not sign in at another provider."""
    return () if "session = " in page.blocks[0].text else INDEX.blocks


def renew(session: SessionManager, services: Services) -> None:
    """Renew the token, and have the old one refused from now on."""
    old = session.access_token
    asyncio.run(session.refresh())
    services.end(old)


def test_a_client_that_keeps_its_token_is_found(reader: Reader, services: Services) -> None:
    """What holds the headers that it was made with is refused after the renewal."""
    made = "import httpx; client = httpx.Client(headers=session.headers)"
    used = "client.get('https://data.example.org/').raise_for_status()"
    reader.blanks = services.blanks_in(used)
    for block in (*INDEX.blocks, Block("a page", 1, "python", made), Block("a page", 2, "python", used)):
        reader.run(block)
    renew(reader.names["session"], services)

    with pytest.raises(AssertionError, match="401"):
        reader.run(Block("a page", 2, "python", used))


def test_there_are_ten_recipes_and_the_index_has_them_all() -> None:
    """Each page is linked from the table."""
    names = [page.name.removeprefix(RECIPES) for page in PAGES_OF_RECIPES]

    assert len(names) == 10
    assert [name for name in names if f"]({name}" not in INDEX.prose] == []


@pytest.mark.parametrize(
    "notebook", [pytest.param(path, id=path.name) for path in (ROOT / "notebooks").glob("*.ipynb")]
)
def test_a_notebook_is_saved_without_output(notebook: Path) -> None:
    """Nothing that its author saw is in it."""
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]

    assert [cell["id"] for cell in cells if cell["outputs"] or cell["execution_count"]] == []
