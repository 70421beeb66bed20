"""``pywry-auth doctor`` and ``pywry-auth demo``."""

from __future__ import annotations

import argparse
import contextlib

_LEAST, _MOST = 5.0, 600.0  # seconds
_DOCTOR = """\
Say which redirect URI to register at the provider, and whether a sign-in would
work here. Run it in a Jupyter terminal; or anywhere, with the address of a
JupyterHub. It starts a kernel and deletes it again, and asks the provider
whether it knows the client.
"""
_SECRETS_AND_STATUS = """\
Which secret goes where:
  The Jupyter server on this machine gets its own token, or on a hub the
  hub's token of that server. The host of URL gets the same token, but only
  after it has answered a request without a token as this extension does, and,
  if the hub knows its public address, only at that address. From another
  machine, URL gets JUPYTER_TOKEN, if set, by the same rule, and never the
  hub's token. A token in URL itself (?token=…) goes to the host of URL alone.
  A configured client secret is sent to the configured provider for the
  configured client: with --issuer, --metadata-url or --client-id none is read
  or sent.

Exit status:
  0    a sign-in would work, as far as can be seen from here, and every check
       that was begun was completed
  1    a sign-in would fail; or a check could not be completed; or there was
       nothing to check
  2    wrong usage of the command
  130  interrupted
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    demo = commands.add_parser("demo", help="run JupyterLab with the quickstart notebook and a provider to sign in at")
    demo.add_argument("--port", type=int, default=0, help="JupyterLab's port (default: a free one)")
    demo.add_argument("--no-browser", action="store_true", help="only print the address")
    demo.set_defaults(run=_demo)
    _add_doctor(commands)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from ..doctor import SECONDS

    doctor = commands.add_parser(
        "doctor",
        help="say which redirect URI to register, and whether a sign-in would work",
        description=_DOCTOR,
        epilog=_SECRETS_AND_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("url", nargs="?", metavar="URL", type=_address, help="the address in the browser")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.add_argument("--issuer", help="the issuer of a provider, instead of the configured one")
    doctor.add_argument("--metadata-url", metavar="URL", help="where the provider's metadata are, besides or for it")
    doctor.add_argument("--client-id", metavar="ID", help="the client ID registered there")
    doctor.add_argument(
        "--timeout",
        type=_seconds,
        default=SECONDS,
        metavar="SECONDS",
        help="time limit for all checks (default: %(default).0f)",
    )
    doctor.set_defaults(run=_doctor)


def _demo(options: argparse.Namespace) -> int:
    from .. import demo

    return demo.main(options.port, browser=not options.no_browser)


def _doctor(options: argparse.Namespace) -> int:
    from .. import doctor

    given = {"issuer_url": options.issuer, "metadata_url": options.metadata_url, "client_id": options.client_id}
    settings = {name: value for name, value in given.items() if value}
    if options.issuer or options.metadata_url:  # of another provider than the configured one
        settings = {"provider": "oidc", "issuer_url": "", "metadata_url": ""} | settings
    address, token = options.url or (None, "")
    return doctor.main(address, as_json=options.json, settings=settings, seconds=options.timeout, token=token)


def _address(text: str) -> tuple[str, str]:
    """Parse a URL, and the token in it. The error does not repeat it, since it may contain a password or a token."""
    from ..doctor.addresses import read_address, token_in
    from ..tokens import Secret

    try:
        return read_address(text), Secret(token_in(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if _LEAST <= (seconds := float(text)) <= _MOST:
            return seconds
    raise argparse.ArgumentTypeError(f"must be between {_LEAST:.0f} and {_MOST:.0f}")
