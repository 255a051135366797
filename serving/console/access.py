"""Who may open which screen. What a screen shows is cut to its reader's audience besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STAFF: Final = frozenset({"reviewer", "approver", "risk", "validator", "auditor", "admin"})
"""People. The role ``service`` is a machine's and has no screens."""
REVIEWERS: Final = frozenset({"reviewer", "approver", "risk"})
AUTHORS: Final = frozenset({"reviewer", "risk", "validator", "admin"})
APPROVERS: Final = frozenset({"approver"})
RECORD: Final = frozenset({"risk", "auditor"})
"""Readers of raw entries: those whose audience is compliance, since entries are not cut."""

FIGURES: Final = frozenset({"approver", "risk", "validator", "auditor", "admin"})


@dataclass(frozen=True)
class Screen:
    """A place in the navigation."""

    name: str
    path: str
    roles: frozenset[str]


SCREENS: Final = (
    Screen("queue", "/console/queue", REVIEWERS | {"auditor"}),
    Screen("proposals", "/console/proposals", STAFF),
    Screen("night", "/console/night", STAFF),
    Screen("policy", "/console/policy", STAFF),
    Screen("model", "/console/model", STAFF),
    Screen("simulator", "/console/simulator", STAFF),
    Screen("replay", "/console/replay", STAFF),
    Screen("audit", "/console/audit", RECORD),
    Screen("figures", "/console/figures", FIGURES),
)


def screens_of(roles: frozenset[str]) -> list[Screen]:
    """The screens that somebody may open, in the order of the navigation."""
    return [s for s in SCREENS if s.roles & roles]
