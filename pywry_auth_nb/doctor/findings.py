"""What the doctor found, with the words of ``findings.ini``: as text for people, or as one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Generator
from configparser import ConfigParser
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import TypeVar

from .._version import __version__
from ..errors import AuthenticationError
from .hub_environment import hub_in

T = TypeVar("T")

#: At least one of these checks must have found something that is well, or there was nothing to look at.
_SUBJECTS = frozenset({"server", "public", "provider"})
#: Codes of checks that were begun, and could not be made.
_UNMADE = frozenset({"check_failed", "kernel_slow", "kernel_unseen", "login_before_server", "token_needed"})
#: Codes of what could not be seen, though a sign-in depends on it.
_UNSEEN = frozenset({
    "client_unknown", "client_unset", "kernel_elsewhere", "kernel_not_python", "provider_unset", "public_login",
    "public_unreachable", "registration_unknown", "user_server_unseen",
})  # fmt: skip
_MARGIN = 9  # characters: the longest level and two spaces


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        check: ``server``, ``extension``, ``public``, ``kernel``, ``network``, ``provider``, ``clock`` or ``store``.
        level: ``error`` where a sign-in would fail, ``warning`` where it may, or is not safe; ``note`` for what could
            not be seen, or may be a surprise; ``ok``.
        code: What programs may compare; it never changes with the wording.
        message: One or two sentences.
        advice: What to do; empty where there is nothing to do.
    """

    check: str
    level: str
    code: str
    message: str
    advice: str = ""


#: A check yields findings, and returns what the next check needs.
Check = Generator[Finding, None, T]


def _read_table() -> ConfigParser:
    table = ConfigParser(delimiters=["="])
    table.read_string(files(__package__).joinpath("findings.ini").read_text("utf-8"))
    return table


TABLE = _read_table()


def found(check: str, row: str, **values: object) -> Finding:
    """Return the finding of a row of the table, with these values in its words."""
    section = check if row in TABLE[check] else "any check"
    level, _, text = words(section, row).partition(": ")
    message, _, advice = text.partition(" -> ")
    values |= {"check": check, "here": __version__}
    return Finding(check, level, row.partition(".")[0], message.format_map(values), advice.format_map(values))


def found_error(check: str, error: AuthenticationError, about: str) -> Finding:
    """Return the finding of an error of the package, with the advice for its code, or for what it is about."""
    section = f"{check} errors"
    advice = words(section, error.code if error.code in TABLE[section] else about)
    return Finding(check, "error", error.code, error.message, advice)


def words(section: str, row: str) -> str:
    """Return the words of a row of the table on one line."""
    return " ".join(TABLE[section][row].split())


@dataclass(repr=False)
class Report:
    """All findings, and the redirect URI to register.

    Attributes:
        redirect_uri: None where it cannot be known.
        outline: The redirect URI as far as it is known then, with ``HUB`` for the host.
        findings: In the order of the checks.
    """

    redirect_uri: str | None = None
    outline: str | None = None
    findings: list[Finding] = field(default_factory=list)

    def collect(self, name: str, check: Check[T]) -> T | None:
        """Run a check, and return what it returns; None where it fails, which stops no other check."""
        try:
            while True:
                self.findings.append(next(check))
        except StopIteration as end:
            result: T = end.value
            return result
        except AuthenticationError as error:
            self.findings.append(found(name, "check_failed", error=error.code))
        except Exception as error:  # noqa: BLE001 - whatever is broken here, the other checks must be made
            self.findings.append(found(name, "check_failed", error=type(error).__name__))
        return None

    @property
    def errors(self) -> int:
        """How many findings say that a sign-in would fail."""
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def unmade(self) -> int:
        """How many checks could not be made, though they were begun."""
        return sum(finding.code in _UNMADE for finding in self.findings)

    @property
    def unseen(self) -> int:
        """How many things that a sign-in depends on could not be seen."""
        return sum(finding.code in _UNSEEN for finding in self.findings)

    @property
    def is_empty(self) -> bool:
        """Whether there was neither a server nor a hub nor a provider to look at."""
        return not any(finding.level == "ok" and finding.check in _SUBJECTS for finding in self.findings)

    @property
    def ok(self) -> bool:
        """Whether a sign-in would work, as far as can be seen from here."""
        return not (self.errors or self.unmade or self.is_empty)

    def as_json(self) -> str:
        """Return one JSON object."""
        findings = [asdict(finding) for finding in self.findings]
        return json.dumps({"ok": self.ok, "redirect_uri": self.redirect_uri, "findings": findings})

    def as_text(self) -> str:
        """Return lines for people: the redirect URI, which can be copied, then the findings, then the sum."""
        return "\n".join([*self._uri(), *map(_lines, self.findings), "", self._sum()])

    def _uri(self) -> list[str]:
        if self.redirect_uri:
            return ["Redirect URI to register at the provider:", "", f"  {self.redirect_uri}", ""]
        if self.outline:
            give = f"give the address of the hub to see it: pywry-auth doctor {hub_in(self.outline)}"
            return [f"Redirect URI to register: {give}", "", f"  {self.outline}", ""]
        return []

    def _sum(self) -> str:
        if self.errors:
            return f"A sign-in would fail: {_count(self.errors, 'error')}."
        if self.is_empty:
            return (
                "Nothing could be looked at. Run this in a terminal of Jupyter; or name what to look at: "
                "pywry-auth doctor https://HUB/ --issuer https://PROVIDER --client-id ID"
            )
        if self.unmade:
            return f"A sign-in may work: {_count(self.unmade, 'check')} could not be made."
        if self.unseen:
            return (
                f"Nothing was found that would make a sign-in fail; {_count(self.unseen, 'thing')} could not be seen "
                "from here, as the notes say."
            )
        return "A sign-in would work, as far as can be seen from here."

    def __repr__(self) -> str:
        return self.as_text()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _lines(finding: Finding) -> str:
    mark = finding.level.upper() if finding.level == "error" else finding.level
    line = f"{mark:{_MARGIN}}{finding.message}"
    return f"{line}\n{'':{_MARGIN}}-> {finding.advice}" if finding.advice else line
