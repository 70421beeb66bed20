"""How a cell signs in and waits. Other ways to sign in than through the Jupyter server will stand here as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import kernel
from ._loop import run
from .errors import LoginRequired
from .flow import AuthFlowResult

if TYPE_CHECKING:
    from .session import SessionManager

_GRACE = 5.0  # seconds that the background may lag behind its own deadline


def login(session: SessionManager, timeout: float) -> AuthFlowResult:
    """Show the widget of ``session`` and wait until somebody has signed in.

    The control channel makes this possible: the sign-in completes on other threads while the cell waits.

    Raises:
        LoginRequired: There is nobody to ask.
        AuthenticationError: What the sign-in ended with instead.
    """
    if run(session.initialize(), timeout + _GRACE) is None or session.status == "reauth_required":
        if not kernel.has_front_end():
            raise LoginRequired(
                "Nobody is signed in, and there is no front end here where somebody could. Open the notebook in "
                "JupyterLab or Notebook 7 and sign in there.",
                code="no_front_end",
            )
        from IPython.display import display

        display(session)  # type: ignore[no-untyped-call]
        run(session.wait_signed_in(timeout), timeout + _GRACE)
    return AuthFlowResult(success=True, tokens=run(session.initialize(), _GRACE), user_info=session.user)
