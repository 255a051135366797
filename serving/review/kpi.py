"""How the queue and its people do: ages, lateness, throughput, overrides, agreement, haste."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from data_contracts.units import RATIO_ONE, format_decimal
from models.review import ReviewPolicy
from serving.review.case import ReviewAct, ReviewCase, Reviewer, moment
from serving.review.store import ReviewStore

AGE_DAYS: Final = (("0-2", 3), ("3-10", 11), ("11-30", 31))
"""Classes of age in whole days: name, and the first day of the next class."""


def kappa_e6(pairs: Sequence[tuple[str, str]]) -> int | None:
    """Cohen's kappa of paired judgements, 1e-6; None where it is undefined (Cohen 1960).

    Observed agreement beyond what the two marginal distributions give by chance.

    >>> kappa_e6([("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15)
    400000
    """
    n = len(pairs)
    if n == 0:
        return None
    agreed = sum(a == b for a, b in pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[k] * second[k] for k in first)  # over n squared
    if chance == n * n:
        return None
    above = (agreed * n - chance) * RATIO_ONE
    return above // (n * n - chance)


def _ratio(part: int, whole: int) -> str | None:
    return None if whole == 0 else format_decimal(part * RATIO_ONE // whole, 6)


def _kappa(pairs: Sequence[tuple[str, str]]) -> str | None:
    found = kappa_e6(pairs)
    return None if found is None else format_decimal(found, 6)


def _seconds(case: ReviewCase) -> int | None:
    if case.taken_at is None or case.closed_at is None:
        return None
    return int((moment(case.closed_at) - moment(case.taken_at)).total_seconds())


def _median(values: Sequence[int]) -> int | None:
    return sorted(values)[len(values) // 2] if values else None


def _people(
    acts: Sequence[ReviewAct], cases: dict[str, ReviewCase], policy: ReviewPolicy
) -> list[dict[str, Any]]:
    names = sorted({a.actor for a in acts if a.act in ("taken", "confirmed", "override_proposed")})
    rows = []
    for name in names:
        mine = [a for a in acts if a.actor == name]
        confirmed = [a for a in mine if a.act == "confirmed"]
        proposed = [a for a in mine if a.act == "override_proposed"]
        decided = len(confirmed) + len(proposed)
        spent = [s for a in confirmed if (s := _seconds(cases[a.case_id])) is not None]
        late = sum(a.acted_at > cases[a.case_id].due_at for a in confirmed + proposed)
        # agreement without reading: nearly all confirmed, and most of it in less than a glance
        quick = sum(s < policy.stamp_seconds for s in spent)
        stamp = (
            decided >= policy.stamp_cases
            and len(confirmed) * RATIO_ONE >= policy.stamp_agreement_ratio * decided
            and quick * 2 > len(spent)
        )
        rows.append(
            {
                "reviewer": name,
                "taken": sum(a.act == "taken" for a in mine),
                "confirmed": len(confirmed),
                "overrides_proposed": len(proposed),
                "escalated": sum(a.act == "escalated" for a in mine),
                "late": late,
                "agreement": _ratio(len(confirmed), decided),
                "median_seconds": _median(spent),
                "rubber_stamp": stamp,
            }
        )
    return rows


def _views(acts: Sequence[ReviewAct], cases: dict[str, ReviewCase]) -> dict[str, Any]:
    """Own views against the system, and of two people on one case against each other."""
    views: dict[str, list[ReviewAct]] = {}
    for a in acts:
        if a.act == "viewed":
            views.setdefault(a.case_id, []).append(a)
    system = [
        (str(v.detail["outcome"]), cases[number].outcome)
        for number, found in views.items()
        for v in found
    ]
    readers = [
        (str(found[0].detail["outcome"]), str(found[1].detail["outcome"]))
        for found in views.values()
        if len(found) > 1
    ]
    return {
        "views": len(system),
        "kappa_reader_system": _kappa(system),
        "double_views": len(readers),
        "kappa_two_readers": _kappa(readers),
    }


def review_kpis(
    store: ReviewStore, who: Reviewer, since: dt.datetime, now: dt.datetime, policy: ReviewPolicy
) -> dict[str, Any]:
    """Figures of the queue now and of what was done from ``since`` to ``now``.

    Only cases that ``who`` may know of count. Shares are decimal strings, null where nothing was
    counted.
    """
    acts = store.acts(since, now + dt.timedelta(microseconds=1))
    cases = store.cases_by_id(sorted({a.case_id for a in acts}))
    seen = {number for number, c in cases.items() if c.audience != "compliance"
            or who.reader == "compliance"}  # fmt: skip
    acts = [a for a in acts if a.case_id in seen]
    confirmed = [a for a in acts if a.act == "confirmed"]
    overridden = [a for a in acts if a.act == "overridden"]
    closed = len(confirmed) + len(overridden)
    by_day = Counter(a.acted_at[:10] for a in confirmed + overridden)
    reasons = Counter(str(a.detail["reason_code"]) for a in overridden)
    sides = Counter(str(a.detail["side"]) for a in overridden)
    late = sum(a.acted_at > cases[a.case_id].due_at for a in confirmed + overridden)
    appeals = [c for n, c in cases.items() if n in seen and c.kind == "appeal"]
    counts = store.counts(who, now)
    return {
        "since": since.isoformat(),
        "until": now.isoformat(),
        "queue": {k: counts[k] for k in ("open", "proposed", "late", "snoozed", "held")},
        "open_by_rule": [{"rule": r, "cases": n} for r, n in counts["by_rule"].items()],
        "ages": _ages(store, who, now),
        "closed": closed,
        "closed_late": late,
        "closed_by_day": [{"day": d, "cases": n} for d, n in sorted(by_day.items())],
        "override_rate": _ratio(len(overridden), closed),
        "overrides_by_reason": [{"reason": r, "cases": n} for r, n in sorted(reasons.items())],
        "overrides_by_side": [{"side": s, "cases": n} for s, n in sorted(sides.items())],
        "escalated": sum(a.act == "escalated" for a in acts),
        "appeals": {
            "opened": sum(a.act == "appealed" for a in acts),
            "upheld": sum(c.resolution == "confirmed" for c in appeals),
            "changed": sum(c.resolution == "overridden" for c in appeals),
        },
        "blind": _views(acts, cases),
        "reviewers": _people(acts, cases, policy),
    }


def _ages(store: ReviewStore, who: Reviewer, now: dt.datetime) -> list[dict[str, Any]]:
    edges = [now - dt.timedelta(days=days) for _, days in AGE_DAYS]
    found, newer = [], 0
    for (name, _), edge in zip(AGE_DAYS, edges, strict=True):
        upto = store.opened_after(who, edge)
        found.append({"days": name, "cases": upto - newer})
        newer = upto
    total = store.opened_after(who, None)
    return [*found, {"days": ">30", "cases": total - newer}]
