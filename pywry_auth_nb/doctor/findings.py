"""What the doctor found, and how it is told: as text for people, or as one JSON object for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from ..errors import AuthenticationError
from .hub_environment import hub_in

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")

Level = Literal["ok", "note", "warning", "error"]

_MARKS = {"ok": "ok", "note": "note", "warning": "warning", "error": "ERROR"}
_WIDTH = 9  # of the longest mark and two spaces
#: Checks of which at least one must have found something, or nothing was looked at.
_WORTH = frozenset({"server", "public", "provider"})
#: Codes of what was begun, and could not be done.
_UNMADE = frozenset({"check_failed", "kernel_slow", "kernel_unseen"})


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: Which part it belongs to: ``server``, ``extension``, ``public``, ``kernel``, ``provider``, ``clock`` or
            ``store``.
        level: ``error`` where a sign-in would fail, ``warning`` where it may, or is not safe; ``note`` for what could
            not be seen, or may be a surprise; ``ok``.
        code: What programs may compare; it never changes with the wording.
        message: One or two sentences. Neither this nor ``advice`` holds a secret, or words that a server chose.
        advice: What to do; empty where there is nothing to do.
    """

    check: str
    level: Level
    code: str
    message: str
    advice: str = ""


@dataclass
class Report:
    """All findings, and the redirect URI to register.

    Attributes:
        redirect_uri: None where it cannot be known.
        outline: How it looks then, as far as that is known: with ``HUB`` for the host.
        findings: What was found.
    """

    redirect_uri: str | None = None
    outline: str | None = None
    findings: list[Finding] = field(default_factory=list)

    def collect(self, check: str, findings: Generator[Finding, None, T]) -> T | None:
        """Take over what a check finds, and return what it returns; None where it fails, which hides no other check."""
        try:
            while True:
                self.findings.append(next(findings))
        except StopIteration as end:
            result: T = end.value
            return result
        except AuthenticationError as error:
            self.findings.append(_failed(check, error.code))
        except Exception as error:  # noqa: BLE001 - whatever is broken here, the other checks must be made
            self.findings.append(_failed(check, type(error).__name__))
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
    def is_empty(self) -> bool:
        """Whether there was neither a server nor a hub nor a provider to look at."""
        return not any(finding.level == "ok" and finding.check in _WORTH for finding in self.findings)

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
            return f"A sign-in would fail: {_number(self.errors, 'error')}."
        if self.is_empty:
            return (
                "Nothing could be looked at. Run this in a terminal of Jupyter; or name what to look at: "
                "pywry-auth doctor https://HUB/ --issuer https://PROVIDER --client-id ID"
            )
        if self.unmade:
            return f"A sign-in may work: {_number(self.unmade, 'check')} could not be made."
        return "A sign-in would work, as far as can be seen from here."


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _lines(finding: Finding) -> str:
    line = f"{_MARKS[finding.level]:{_WIDTH}}{finding.message}"
    return f"{line}\n{'':{_WIDTH}}-> {finding.advice}" if finding.advice else line


def _failed(check: str, why: str) -> Finding:
    return Finding(
        check,
        "warning",
        "check_failed",
        f"Looking at this did not work ({why}): {check}.",
        "The other findings count all the same. Try again; if it stays so, report it to the authors.",
    )
