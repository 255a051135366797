"""Which model is champion, which challenge it and which only watch, from the ledger's entries.

A model gets a role by an approved proposal whose content pins what was approved: hashes of bundle,
validation report, recipe and data, and the day until which it must be reviewed. The champion
decides. Challengers and shadows decide on the same cases beside it and on nobody: what they say is
neither published nor enforced. A challenger is a candidate for the champion's place, a shadow is
watched only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from data_contracts.errors import InputError

CHAMPION, CHALLENGER, SHADOW, RETIRED = "champion", "challenger", "shadow", "retired"
ROLES: Final = (CHAMPION, CHALLENGER, SHADOW)
RELEASED_KIND: Final = "model_released"
"""The entry of an approved champion, or of a longer review date for a bundle in use."""
PLACED_KIND: Final = "model_placed"
"""The entry of an approved challenger or shadow, or of one that was retired."""
KINDS: Final = (RELEASED_KIND, PLACED_KIND)
PINNED: Final = (
    "role", "purpose", "report_sha256", "report_key_id", "grade", "recipe_sha256", "data_sha256",
    "rollback_of",
)  # fmt: skip
"""What a promotion pins beside the bundle's hash and the review date."""
CLIENTS, APPLICANTS = "clients", "applicants"
PURPOSES: Final = {"behavioural": CLIENTS, "application": APPLICANTS}
"""Whom a scorer decides on, by the name of its feature set."""
MOST_BESIDE: Final = 4
"""Challengers and shadows at once: each costs as much as deciding does."""
LONGEST_REVIEW_DAYS: Final = 366
"""A model is reviewed at least once a year."""
PROOFS: Final = frozenset({"monotone", "protected_path", "served", "additivity"})
"""Findings on what the model is, not on how well it does: with one of them it gets no role."""
MAJOR, SEVERE = 3, 4


class Recorded(Protocol):
    """An entry of the ledger, as far as it matters here."""

    @property
    def position(self) -> int:
        """Its place in the ledger."""

    @property
    def kind(self) -> str:
        """What it records."""

    @property
    def body(self) -> Mapping[str, Any]:
        """What it says."""

    @property
    def recorded_at(self) -> str:
        """When, as RFC 3339 in UTC."""


@dataclass(frozen=True)
class Placed:
    """A model in a role, with what its approval was bound to.

    Attributes
    ----------
    role : ``champion``, ``challenger`` or ``shadow``
    purpose : whom it decides on, ``clients`` or ``applicants``
    review_on : last day on which it may be used without another review
    report_sha256, report_key_id, recipe_sha256, data_sha256 : None for a champion that was released
        without a promotion, by its hash and review date alone
    grade : the report's, 1 (no finding) to 4 (severe)
    since, position : from when it has its role, and where that was recorded
    rollback_of : hash of the champion that it was brought back in place of, or None
    """

    bundle_sha256: str
    role: str
    purpose: str
    review_on: dt.date
    report_sha256: str | None
    report_key_id: str | None
    grade: int | None
    recipe_sha256: str | None
    data_sha256: str | None
    author: str
    approvals: tuple[str, ...]
    proposal_id: str
    since: str
    position: int
    rollback_of: str | None = None

    def past_review(self, day: dt.date) -> bool:
        """Whether the review was due before a day."""
        return self.review_on < day

    def pins(self) -> dict[str, Any]:
        """What a proposal that brings this model back pins again."""
        return {
            "bundle_sha256": self.bundle_sha256,
            "purpose": self.purpose,
            "report_sha256": self.report_sha256,
            "report_key_id": self.report_key_id,
            "grade": self.grade,
            "recipe_sha256": self.recipe_sha256,
            "data_sha256": self.data_sha256,
        }


@dataclass(frozen=True)
class Lineup:
    """The models of one purpose at a moment.

    ``challengers`` and ``shadows`` are in the order of their approval, ``former`` are champions
    that were replaced, the last one first, each once.
    """

    champion: Placed | None
    challengers: tuple[Placed, ...] = ()
    shadows: tuple[Placed, ...] = ()
    former: tuple[Placed, ...] = ()

    @property
    def beside(self) -> tuple[Placed, ...]:
        """Who decides beside the champion, on nobody."""
        return self.challengers + self.shadows


def _since(entry: Recorded) -> dt.datetime:
    """From when an entry counts: as its proposal stated, else as it was recorded."""
    return dt.datetime.fromisoformat(str(entry.body.get("effective_at") or entry.recorded_at))


def _placed(entry: Recorded, role: str, purpose: str) -> Placed:
    b = entry.body

    def text(name: str) -> str | None:
        return None if b.get(name) is None else str(b[name])

    return Placed(
        str(b["bundle"]),
        role,
        purpose,
        dt.date.fromisoformat(str(b["review_on"])),
        text("report_sha256"),
        text("report_key_id"),
        None if b.get("grade") is None else int(b["grade"]),
        text("recipe_sha256"),
        text("data_sha256"),
        str(b.get("author", "")),
        tuple(str(a) for a in b.get("approvals", ())),
        str(b.get("proposal_id", "")),
        _since(entry).isoformat(),
        entry.position,
        text("rollback_of"),
    )


def lineup_at(
    entries: Iterable[Recorded],
    moment: dt.datetime | None = None,
    purpose: str = CLIENTS,
    purposes: Mapping[str, str | None] | None = None,
) -> Lineup:
    """Who is champion, challenger and shadow at a moment.

    A model holds one role: the last approved; a champion leaves its place only to another, so what
    would put it beside itself, or retire it, is passed over. A new champion ends the one before
    it; the same one again gets the new review date. A release without a role (a bundle's hash and
    a review date) is a champion's without pins, where ``purposes`` knows whom the bundle decides
    on; of a champion that was promoted it moves the review date alone.

    Parameters
    ----------
    entries : of kinds ``KINDS``, in any order; others are passed over
    moment : what comes into force later does not count; None counts all
    purposes : by hash, whom the bundles of releases without a role decide on
    """
    known = sorted((_since(e), e.position, e) for e in entries if e.kind in KINDS)
    champion: Placed | None = None
    beside: dict[str, Placed] = {}
    former: list[Placed] = []
    for since, _, entry in known:
        bundle = entry.body.get("bundle")
        if bundle is None or (moment is not None and since > moment):
            continue
        role = entry.body.get("role")
        whose = entry.body["purpose"] if role else (purposes or {}).get(str(bundle))
        if whose != purpose:
            continue
        placed = _placed(entry, str(role or CHAMPION), purpose)
        if role is None and champion is not None and champion.bundle_sha256 == bundle:
            champion = replace(champion, review_on=placed.review_on)
            continue
        beside.pop(str(bundle), None)
        reigns = champion is not None and champion.bundle_sha256 == bundle
        if role == RETIRED or (reigns and placed.role != CHAMPION):
            continue
        if placed.role != CHAMPION:
            beside[str(bundle)] = placed
            continue
        former = [f for f in former if f.bundle_sha256 != bundle]
        if champion is not None and champion.bundle_sha256 != bundle:
            former.insert(0, champion)
        champion = placed
    return Lineup(
        champion,
        tuple(p for p in beside.values() if p.role == CHALLENGER),
        tuple(p for p in beside.values() if p.role == SHADOW),
        tuple(former),
    )


def purpose_of(feature_set: str) -> str:
    """Whom a scorer of a feature set such as ``behavioural/1`` decides on."""
    name = feature_set.split("/", maxsplit=1)[0]
    if name not in PURPOSES:
        raise InputError(
            f"the bundle is over the features {feature_set!r}; a lender's models are over"
            f" {' or '.join(PURPOSES)}: `gearline train` makes one"
        )
    return PURPOSES[name]


def check_report(
    report: Mapping[str, Any], bundle_sha256: str, role: str, review_on: dt.date, today: dt.date
) -> None:
    """Refuse a promotion that the validation report or the review date forbids.

    The rule: the report is of this very bundle and its own formulas passed their test; no finding
    speaks against a proof (``PROOFS``); a champion has no severe grade, and with a major finding it
    is reviewed no later than that finding is due; the review date is neither past nor more than
    ``LONGEST_REVIEW_DAYS`` away. Challengers and shadows decide on nobody, so severe findings do
    not keep them from being compared.

    Raises
    ------
    InputError
        Naming the rule, the value and the way out.
    """
    validated = report["subject"]["model_sha256"]
    if validated != bundle_sha256:
        raise InputError(
            f"the report is of bundle {str(validated)[:16]}, not of {bundle_sha256[:16]}; validate"
            " this bundle with `gearline validate report`"
        )
    failed = int(report["self_test"]["failed"])
    if failed:
        raise InputError(
            f"{failed} of the report's own formulas missed their reference numbers; run `gearline"
            " validate self-test` and make the report again"
        )
    findings = list(report["findings"])
    broken = sorted({f["rule"] for f in findings if f["rule"] in PROOFS})
    if broken:
        raise InputError(
            f"the report has findings against {', '.join(broken)}: a model whose proofs fail gets"
            " no role; train another"
        )
    if review_on < today:
        raise InputError(
            f"--review-by is {review_on}, which is past on {today}; name a day to come"
        )
    if (review_on - today).days > LONGEST_REVIEW_DAYS:
        raise InputError(
            f"--review-by is {review_on}; a model is reviewed within {LONGEST_REVIEW_DAYS} days,"
            f" here by {today + dt.timedelta(days=LONGEST_REVIEW_DAYS)}"
        )
    if role != CHAMPION:
        return
    if int(report["grade"]) >= SEVERE:
        raise InputError(
            f"the report's grade is {report['grade']} (severe): such a model may be a challenger or"
            " a shadow, not the champion; close the findings and validate again"
        )
    due = [dt.date.fromisoformat(f["due"]) for f in findings if int(f["severity"]) >= MAJOR]
    if due and review_on > min(due):
        raise InputError(
            f"--review-by is {review_on}, but a major finding is due on {min(due)}: review the"
            " champion by then, or close the finding and validate again"
        )


def check_place(lineup: Lineup, bundle_sha256: str, role: str) -> None:
    """Refuse a place that the line-up has no room for."""
    champion = lineup.champion
    if role != CHAMPION and champion is not None and champion.bundle_sha256 == bundle_sha256:
        raise InputError(
            f"bundle {bundle_sha256[:16]} is the champion; promote another to the place first"
        )
    others = [p for p in lineup.beside if p.bundle_sha256 != bundle_sha256]
    if role in (CHALLENGER, SHADOW) and len(others) >= MOST_BESIDE:
        raise InputError(
            f"{len(others)} models stand beside the champion, at most {MOST_BESIDE} may; retire one"
            " with `gearline model retire`"
        )
