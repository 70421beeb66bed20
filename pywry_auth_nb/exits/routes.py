"""What the endpoint answers at each path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..tokens import bearer
from .link import TOKEN_PATH
from .sts import RoleKeys

if TYPE_CHECKING:
    from .._io.http import HttpClient
    from .endpoint import Route
    from .holder import Holder, TokenKind
    from .presets import Plan


AWS = ("GET", "/aws")


def token_routes(holder: Holder) -> dict[tuple[str, str], Route]:
    """Return what the key of a handle is good for: an access token, and another one in place of a refused one."""

    async def token(_: bytes) -> dict[str, Any]:
        return {"token": await holder.read("access_token"), "expires_at": holder.expires_at}

    async def instead(refused: bytes) -> dict[str, Any]:
        return {"token": await holder.instead_of(refused.decode("ascii", "replace"))}

    return {("GET", TOKEN_PATH): token, ("POST", TOKEN_PATH): instead}


def routes_of(plan: Plan, holder: Holder, http: HttpClient) -> dict[tuple[str, str], Route]:
    """Return what the key of ``session.serve`` is good for."""
    routes = {"/token": _text(holder, "access_token"), "/id-token": _text(holder, "id_token")}
    routes["/headers"] = _headers(holder)
    if plan.google is not None:
        routes["/google"] = _json(holder, plan.google)
    aws = {} if plan.role is None else {AWS: _aws(RoleKeys(plan.role, holder, http))}
    return {("GET", path): route for path, route in routes.items()} | aws


def _text(holder: Holder, kind: TokenKind) -> Route:
    async def text(_: bytes) -> str:
        return await holder.read(kind)

    return text


def _json(holder: Holder, kind: TokenKind) -> Route:
    async def token(_: bytes) -> dict[str, Any]:
        return {"token": await holder.read(kind)}

    return token


def _headers(holder: Holder) -> Route:
    async def headers(_: bytes) -> dict[str, Any]:
        return {"Authorization": bearer(await holder.read("access_token"))}

    return headers


def _aws(keys: RoleKeys) -> Route:
    async def aws(_: bytes) -> dict[str, Any]:
        return (await keys.read()).for_containers()

    return aws
