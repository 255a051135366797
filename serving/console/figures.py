"""What the queue's record says about the work: how much, how fast, and whether anybody looks.

Pure: acts in, figures out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from models.review import ReviewPolicy
from serving.review import ReviewAct, ReviewCase

DECISIONS: Final = ("confirmed", "proposed", "escalated")
"""Acts by which somebody ends their work on a case."""


@dataclass(frozen=True)
class Person:
    """The work of one person in a time.

    Attributes
    ----------
    decided : cases confirmed, proposed for an override, or referred up
    agreed_ratio : share confirmed of those confirmed or overridden, 1e-6; None without any
    median_seconds : from taking a case to deciding it
    stamp : whether they agree with nearly everything faster than it can be read, by the rules
    """

    subject: str
    decided: int
    confirmed: int
    overridden: int
    escalated: int
    agreed_ratio: int | None
    median_seconds: int | None
    stamp: bool


def _when(act: ReviewAct) -> dt.datetime:
    return dt.datetime.fromisoformat(act.acted_at)


def people(acts: Sequence[ReviewAct], policy: ReviewPolicy) -> list[Person]:
    """Each person's work, those with most of it first."""
    taken: dict[tuple[str, str], dt.datetime] = {}
    counts: dict[str, dict[str, int]] = {}
    seconds: dict[str, list[int]] = {}
    quick: dict[str, int] = {}
    for act in sorted(acts, key=lambda a: a.position):
        if act.act == "taken":
            taken[act.actor, act.case_id] = _when(act)
        if act.act not in DECISIONS:
            continue
        own = counts.setdefault(act.actor, dict.fromkeys(DECISIONS, 0))
        own[act.act] += 1
        began = taken.pop((act.actor, act.case_id), None)
        if began is not None:
            spent = int((_when(act) - began).total_seconds())
            seconds.setdefault(act.actor, []).append(spent)
            if act.act == "confirmed" and spent < policy.stamp_seconds:
                quick[act.actor] = quick.get(act.actor, 0) + 1
    found = []
    for subject, own in counts.items():
        opinions = own["confirmed"] + own["proposed"]
        agreed = own["confirmed"] * 1_000_000 // opinions if opinions else None
        stamp = (
            agreed is not None
            and agreed >= policy.stamp_agreement_ratio
            and quick.get(subject, 0) >= policy.stamp_cases
        )
        times = seconds.get(subject)
        found.append(
            Person(
                subject,
                sum(own.values()),
                own["confirmed"],
                own["proposed"],
                own["escalated"],
                agreed,
                int(median(times)) if times else None,
                stamp,
            )
        )
    return sorted(found, key=lambda p: (-p.decided, p.subject))


@dataclass(frozen=True)
class Totals:
    """The work of everybody: cases closed, of these in time, and overrides by reason."""

    closed: int
    in_time: int
    overrides: dict[str, int]


def totals(acts: Sequence[ReviewAct], cases: Mapping[str, ReviewCase]) -> Totals:
    """Totals over the acts of a time; ``cases`` are those that the acts are about."""
    closed = {a.case_id for a in acts if a.act in ("confirmed", "overridden")}
    known = [cases[c] for c in closed if c in cases and cases[c].closed_at is not None]
    reasons: dict[str, int] = {}
    for act in acts:
        if act.act == "proposed":
            code = str(act.detail.get("reason_code") or act.detail.get("reason") or "other")
            reasons[code] = reasons.get(code, 0) + 1
    in_time = sum((c.closed_at or "") <= c.due_at for c in known)
    return Totals(len(known), in_time, dict(sorted(reasons.items(), key=lambda i: (-i[1], i[0]))))
