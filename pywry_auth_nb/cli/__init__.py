"""The command line, ``pywry-auth``: sign in and out, and hand a token to other programs, over the same settings."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from .._version import __version__
from . import completion, doctor, git_credential, sign_in, status, token
from .exits import BROKEN_PIPE, INTERRUPTED, report

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATUS = """\
The settings are those of notebooks: PYWRY_OAUTH2__… in the environment, and
Jupyter's configuration files. What was asked for is on standard output, all
else on standard error.

Exit status (of doctor: see there):
  0    done; for status and token: signed in
  1    not signed in: a new sign-in, or another token, is needed
  2    wrong usage, or a setting is missing or wrong
  3    the network, the provider or the token store failed: try again
  130  interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = _parser()
    completion.answer(parser)
    options = parser.parse_args(argv)
    try:
        outcome: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - a traceback would show secrets
        return report(error)
    return outcome


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pywry-auth",
        description="Sign in from a notebook, or here.",
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pywry-auth-nb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for group in (sign_in, status, token, git_credential, doctor, completion):
        group.add_to(commands)
    return parser


def _drop_output() -> None:
    """Let the interpreter flush what is left of the output into nothing, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
