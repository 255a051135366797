"""Generated decisions of all packs before the oracle; faults that it must see; sums; two forms."""

from __future__ import annotations

import datetime as dt

import pytest

from models.policy import PACK_NAMES, load_pack
from models.policy.pack import changes
from training.bench.decide.faults import FAULTS, caught, planted
from training.bench.decide.law import Found, batch, batches, one_batch, shipped
from training.bench.decide.made import DAYS

CASES = 20_000
SEED = 20260119


@pytest.fixture(scope="module")
def found() -> Found:
    total = Found()
    for task in batches(CASES, SEED):
        total.add(one_batch(task))
    return total


@pytest.mark.long
def test_no_generated_decision_allows_more_than_the_law(found):
    assert found.cases == CASES
    assert not found.breaches, found.first


@pytest.mark.long
def test_every_term_of_the_cap_binds_somewhere_among_them(found):
    assert set(found.bound) == set(range(9))


@pytest.mark.long
def test_every_waterfall_of_cap_rate_and_score_sums_exactly(found):
    assert found.sums_broken == 0


@pytest.mark.long
def test_the_written_form_has_the_bytes_and_hash_of_the_row_form(found):
    assert found.compared >= 500
    assert found.unequal == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_planted_fault_is_caught(fault):
    assert caught(fault, SEED) is not None


@pytest.mark.parametrize("fault", FAULTS[:3], ids=lambda f: f.name)
def test_without_the_fault_the_same_cases_pass(fault):
    with planted(fault):
        pass
    day = dt.date.fromisoformat(fault.days[0])
    clean = batch(fault.pack, day, SEED, 500, shipped, compared=0)
    assert not clean.breaches, clean.first


def test_the_days_looked_at_hold_every_change_of_law_and_the_day_before():
    for name in PACK_NAMES:
        days = {dt.date.fromisoformat(d) for d in DAYS[name]}
        pack = load_pack(name)
        assert {pack.first_date, pack.last_date} <= days
        law = {
            v.first_day
            for p in pack.parameters.values()
            if p.level != "house" and p.applied == "decide"
            for v in p.history
            if v.since > changes(pack)[0]
        }
        for day in law:
            assert {day, day - dt.timedelta(days=1)} <= days, day
