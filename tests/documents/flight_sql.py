"""A module in the place of ``adbc_driver_flightsql.dbapi``, whose wire is that of a program in Go."""

from __future__ import annotations

from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEADER = "adbc.flight.sql.authorization_header"


class FlightSql(ModuleType):
    """Opens connections for good tokens, and answers nothing.

    Args:
        takes: Says whether a token is good.
    """

    def __init__(self, takes: Callable[[str], bool]) -> None:
        super().__init__("adbc_driver_flightsql.dbapi")
        self._takes = takes

    @contextmanager
    def connect(self, address: str, options: dict[str, str]) -> Iterator[FlightSql]:
        """Open a connection."""
        assert address.startswith("grpc+tls://")
        assert self._takes(options[HEADER].removeprefix("Bearer "))
        yield self

    @contextmanager
    def cursor(self) -> Iterator[FlightSql]:
        """Open a cursor."""
        yield self

    def execute(self, query: str) -> Any:
        """Take a query."""
