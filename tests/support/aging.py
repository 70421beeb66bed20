"""Tokens that have grown old: what takes an hour elsewhere."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pywry_auth_nb._io.loop import run

if TYPE_CHECKING:
    from pywry_auth_nb import SessionManager


def expire(session: SessionManager, *, stored: bool = True) -> None:
    """Make the current access token an old one."""
    age(session, life=10, seconds=100, stored=stored)


def age(session: SessionManager, *, life: float, seconds: float, stored: bool = True) -> str:
    """Give the current tokens a life of ``life`` seconds that began ``seconds`` ago; return the access token.

    Args:
        session: Whose tokens.
        life: Seconds.
        seconds: Seconds.
        stored: Whether they are as old in the store.
    """
    engine = session._engine
    current = engine.state.tokens
    assert current is not None
    aged = replace(current, expires_in=life, issued_at=time.time() - seconds)
    if stored:
        run(session.token_store.update(session.store_key, lambda there: replace(there, tokens=aged)), 10)
    engine.state = replace(engine.state, record=replace(engine.state.record, tokens=aged))
    engine._note_fresh()
    return aged.access_token
