"""People who sign in at the provider of the tests, and the page that they do not look at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from comm.base_comm import BaseComm

from pywry_auth_nb import AuthFlowManager
from tests.support.clients import REDIRECT_URI
from tests.support.idp import Answer

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager
    from tests.support.idp import Idp


class Nowhere(BaseComm):
    """A comm without another end."""

    def publish_msg(self, *_: Any, **__: Any) -> None:
        """Forget."""


def sign_in_as(person: str, session: SessionManager, idp: Idp) -> None:
    """Sign in as ``person`` in a browser where no other user is signed in."""
    idp.claims = {"sub": person, "name": person.title()}
    idp.answers["/userinfo"] = Answer(dict(idp.claims))
    flow = AuthFlowManager(session.provider, session_manager=session)

    async def go() -> None:
        request = await flow.begin(REDIRECT_URI)
        await flow.complete(idp.authorize(request.url))

    asyncio.run(go())
