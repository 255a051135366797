"""Who is champion, challenger and shadow at a moment, and what a promotion is refused for."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from models.governance import Proposal, effect
from models.lifecycle import (
    APPLICANTS,
    CHALLENGER,
    CHAMPION,
    MOST_BESIDE,
    PLACED_KIND,
    RELEASED_KIND,
    RETIRED,
    SHADOW,
    check_place,
    check_report,
    lineup_at,
    purpose_of,
)

START = dt.datetime(2026, 3, 2, 9, tzinfo=dt.UTC)
TODAY = dt.date(2026, 3, 2)
REVIEW = "2027-01-31"


@dataclass(frozen=True)
class Entry:
    position: int
    kind: str
    body: dict[str, Any]
    recorded_at: str


def moment(hours: float) -> dt.datetime:
    return START + dt.timedelta(hours=hours)


def placed(position: int, bundle: str, role: str, purpose: str = "clients", **more: Any) -> Entry:
    """What an approved promotion leaves, an hour after the one before."""
    content = {
        "bundle_sha256": bundle,
        "review_on": REVIEW,
        "role": role,
        "purpose": purpose,
        "report_sha256": "a" * 64,
        "report_key_id": "b" * 16,
        "grade": 1,
        "recipe_sha256": "c" * 64,
        "data_sha256": "d" * 64,
        **more,
    }
    proposal = Proposal("1" * 32, "model", "neutral", content, "better", "anna")
    for person in ("ben", "cleo"):
        proposal = proposal.approved(person, proposal.content_sha256)
    left = effect(proposal, moment(position))
    assert left is not None
    at = moment(position).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Entry(position, left[0], left[1], at)


def test_only_an_approved_champion_is_an_entry_of_a_release():
    assert placed(0, "x", CHAMPION).kind == RELEASED_KIND
    assert {placed(0, "x", r).kind for r in (CHALLENGER, SHADOW, RETIRED)} == {PLACED_KIND}
    open_one = Proposal("1", "model", "neutral", {"bundle_sha256": "x"}, "why", "anna")
    assert effect(open_one, START) is None


def test_the_entry_pins_the_hashes_and_names_author_and_approvers():
    [found] = [lineup_at([placed(0, "x", CHAMPION)]).champion]
    assert found is not None
    assert (found.report_sha256, found.recipe_sha256, found.data_sha256) == (
        "a" * 64, "c" * 64, "d" * 64,
    )  # fmt: skip
    assert (found.author, found.approvals) == ("anna", ("ben", "cleo"))
    assert found.review_on == dt.date.fromisoformat(REVIEW)
    assert found.past_review(dt.date(2027, 2, 1))
    assert not found.past_review(dt.date(2027, 1, 31))


def test_a_moment_sees_what_was_approved_until_then():
    entries = [placed(0, "old", CHAMPION), placed(2, "new", CHAMPION), placed(4, "try", CHALLENGER)]
    before = lineup_at(entries, moment(-1))
    assert (before.champion, before.beside) == (None, ())
    early, late = lineup_at(entries, moment(1)), lineup_at(entries, moment(5))
    assert early.champion is not None
    assert early.champion.bundle_sha256 == "old"
    assert early.challengers == ()
    assert late.champion is not None
    assert late.champion.bundle_sha256 == "new"
    assert [p.bundle_sha256 for p in late.challengers] == ["try"]
    assert [p.bundle_sha256 for p in late.former] == ["old"]


def test_an_approval_for_a_later_moment_counts_from_that_moment_on():
    one = placed(0, "old", CHAMPION)
    two = placed(1, "new", CHAMPION)
    two = Entry(1, two.kind, {**two.body, "effective_at": moment(24).isoformat()}, two.recorded_at)
    for hours, wanted in ((23, "old"), (24, "new")):
        champion = lineup_at([one, two], moment(hours)).champion
        assert champion is not None
        assert champion.bundle_sha256 == wanted


def test_a_challenger_that_becomes_champion_challenges_no_more_and_a_rollback_swaps_back():
    entries = [
        placed(0, "old", CHAMPION),
        placed(1, "new", CHALLENGER),
        placed(2, "new", CHAMPION),
    ]
    swapped = lineup_at(entries)
    assert swapped.champion is not None
    assert (swapped.champion.bundle_sha256, swapped.challengers) == ("new", ())
    back = lineup_at([*entries, placed(3, "old", CHAMPION, rollback_of="new")])
    assert back.champion is not None
    assert (back.champion.bundle_sha256, back.champion.rollback_of) == ("old", "new")
    assert [p.bundle_sha256 for p in back.former] == ["new"]


def test_a_retired_challenger_has_no_role_and_may_come_back():
    entries = [placed(0, "x", SHADOW), placed(1, "x", RETIRED)]
    assert lineup_at(entries).beside == ()
    assert [p.role for p in lineup_at([*entries, placed(2, "x", CHALLENGER)]).beside] == [
        CHALLENGER
    ]


def test_a_release_without_a_role_moves_the_review_date_or_makes_a_champion_without_pins():
    plain = Entry(
        1, RELEASED_KIND, {"bundle": "x", "review_on": "2027-12-31"}, "2026-03-02T10:00:00.000000Z"
    )
    moved = lineup_at([placed(0, "x", CHAMPION), plain], purposes={"x": "clients"}).champion
    assert moved is not None
    assert (moved.review_on, moved.report_sha256) == (dt.date(2027, 12, 31), "a" * 64)
    alone = lineup_at([plain], purposes={"x": "clients"}).champion
    assert alone is not None
    assert (alone.bundle_sha256, alone.report_sha256, alone.grade) == ("x", None, None)
    # whom a bundle decides on that the lake does not hold, nobody knows
    assert lineup_at([plain], purposes={"x": None}).champion is None


def test_models_of_applicants_are_a_line_up_of_their_own():
    entries = [placed(0, "x", CHAMPION), placed(1, "y", CHAMPION, APPLICANTS)]
    assert [
        p.bundle_sha256
        for p in (lineup_at(entries).champion, lineup_at(entries, purpose=APPLICANTS).champion)
        if p is not None
    ] == ["x", "y"]
    assert purpose_of("behavioural/1") == "clients"
    assert purpose_of("application/1") == APPLICANTS
    with pytest.raises(InputError, match="lender's models are over behavioural or application"):
        purpose_of("flows/1")


ACTS = st.lists(
    st.tuples(st.sampled_from("pqrst"), st.sampled_from((CHAMPION, CHALLENGER, SHADOW, RETIRED))),
    max_size=12,
)


@given(acts=ACTS, order=st.randoms(use_true_random=False))
def test_no_model_has_two_roles_and_the_order_of_reading_does_not_matter(acts, order):
    entries = [placed(k, bundle, role) for k, (bundle, role) in enumerate(acts)]
    shuffled = list(entries)
    order.shuffle(shuffled)
    found = lineup_at(shuffled)
    assert found == lineup_at(entries)
    names = [p.bundle_sha256 for p in found.beside]
    if found.champion is not None:
        names.append(found.champion.bundle_sha256)
    assert len(names) == len(set(names))
    last = [b for b, role in acts if role == CHAMPION]
    assert (found.champion.bundle_sha256 if found.champion else None) == (
        last[-1] if last else None
    )


@given(acts=ACTS, hours=st.floats(-1, 13))
def test_the_line_up_at_a_moment_is_that_of_the_entries_until_then(acts, hours):
    entries = [placed(k, bundle, role) for k, (bundle, role) in enumerate(acts)]
    until = [e for e in entries if moment(e.position) <= moment(hours)]
    assert lineup_at(entries, moment(hours)) == lineup_at(until)


# --- what a promotion is refused for ------------------------------------------------------------


def report(grade: int = 1, *findings: tuple[str, int, str], failed: int = 0) -> dict[str, Any]:
    return {
        "subject": {"model_sha256": "x" * 64},
        "self_test": {"checked": 9, "failed": failed},
        "grade": grade,
        "findings": [{"rule": r, "severity": s, "due": d} for r, s, d in findings],
    }


def check(document: dict[str, Any], role: str = CHAMPION, review_on: str = "2026-12-31") -> None:
    check_report(document, "x" * 64, role, dt.date.fromisoformat(review_on), TODAY)


def test_a_report_without_findings_promotes_for_up_to_a_year():
    check(report(), review_on="2027-03-03")
    check(report(2, ("drift", 2, "2026-08-01")))
    with pytest.raises(InputError, match="within 366 days, here by 2027-03-03"):
        check(report(), review_on="2027-03-04")


def test_a_review_date_that_is_past_is_refused():
    check(report(), review_on="2026-03-02")
    with pytest.raises(InputError, match="2026-03-01, which is past"):
        check(report(), review_on="2026-03-01")


def test_a_report_of_another_bundle_or_with_failed_formulas_is_refused():
    with pytest.raises(InputError, match="the report is of bundle xxxx"):
        check_report(report(), "y" * 64, CHAMPION, TODAY, TODAY)
    with pytest.raises(InputError, match="formulas missed their reference numbers"):
        check(report(failed=1))


def test_a_severe_grade_keeps_from_the_championship_and_not_from_being_compared():
    severe = report(4, ("calibration", 4, "2026-04-01"))
    with pytest.raises(InputError, match="grade is 4"):
        check(severe)
    check(severe, CHALLENGER)
    check(severe, SHADOW)


def test_with_a_major_finding_the_champion_is_reviewed_when_it_is_due():
    major = report(3, ("weak_spot", 3, "2026-05-31"), ("drift", 2, "2026-04-01"))
    check(major, review_on="2026-05-31")
    with pytest.raises(InputError, match="a major finding is due on 2026-05-31"):
        check(major, review_on="2026-06-01")
    check(major, CHALLENGER, "2026-06-01")


@pytest.mark.parametrize("rule", ["monotone", "protected_path", "served", "additivity"])
@pytest.mark.parametrize("role", [CHAMPION, CHALLENGER, SHADOW])
def test_a_model_whose_proofs_fail_gets_no_role_at_all(rule, role):
    with pytest.raises(InputError, match=f"findings against {rule}"):
        check(report(4, (rule, 4, "2026-04-01")), role)


def test_so_many_stand_beside_the_champion_and_the_champion_does_not():
    full = lineup_at([placed(k, f"b{k}", CHALLENGER) for k in range(MOST_BESIDE)])
    with pytest.raises(InputError, match="retire one"):
        check_place(full, "another", SHADOW)
    check_place(full, "b0", SHADOW)
    check_place(full, "another", CHAMPION)
    with pytest.raises(InputError, match="is the champion"):
        check_place(lineup_at([placed(0, "x", CHAMPION)]), "x", SHADOW)
