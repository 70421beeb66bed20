"""``pywry-auth completion``: completion of commands and options in a shell, with argcomplete."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .exits import DONE

if TYPE_CHECKING:
    import argparse

_COMPLETION = """\
Print what completes commands and options of pywry-auth in a shell. For bash:
eval "$(pywry-auth completion bash)"
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    completion = commands.add_parser("completion", help="print the completion for a shell", description=_COMPLETION)
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    completion.set_defaults(run=_completion)


def answer(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and exit; do nothing otherwise."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def _completion(options: argparse.Namespace) -> int:
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise ConfigurationError("Completion needs a further package: pip install 'pywry-auth-nb[cli]'.") from None
    print(shellcode(["pywry-auth"], shell=options.shell))
    return DONE
