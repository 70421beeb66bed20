"""fsspec over HTTP, and what reads through it: zarr, xarray, pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .needs import need, shown

if TYPE_CHECKING:
    from ..handle import TokenHandle
    from ..session import SessionManager


class FsspecClient:
    """Opens the aiohttp client of an ``HTTPFileSystem``; that of a handle can be pickled.

    Args:
        session: The session whose token to send.
    """

    def __init__(self, session: SessionManager | TokenHandle) -> None:
        self._session = session

    async def __call__(self, **options: Any) -> Any:
        """Open it, with the arguments of ``aiohttp.ClientSession``."""
        aiohttp = need("aiohttp", "fsspec")
        options.pop("loop", None)  # it is the running one, and aiohttp no longer wants to be told
        return aiohttp.ClientSession(middlewares=(self._session.auth,), **options)

    def __repr__(self) -> str:
        return shown("fsspec client", self._session)


def as_fsspec_client(session: SessionManager | TokenHandle) -> FsspecClient:
    """Return the ``get_client`` of fsspec: ``fsspec.open(url, get_client=…)``, ``storage_options={"get_client": …}``.

    Raises:
        ConfigurationError: ``aiohttp`` is not installed.
    """
    need("aiohttp", "fsspec")
    return FsspecClient(session)
