"""The compiled engine against NumPy; zero shock is production; laws of the desk."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gearline
from data_contracts.checks import check_lake
from data_contracts.errors import InputError
from models.decide import decide, decide_columns
from models.decide.columns import decide_prepared
from models.policy import PACK_NAMES, STRESS_ONLY, load_pack
from tests.models.builders import (
    BUNDLE,
    EFFECTIVE,
    MARKETS,
    TYPICAL,
    make_case,
    make_frame,
)
from training.bench.stress import LINES, made_book
from training.stress import kernel
from training.stress.book import clients_who_cure
from training.stress.desk import (
    draw_down,
    group_losses,
    monte_carlo,
    reverse,
    run_path,
    with_feedback,
)
from training.stress.positions import Positions, book_of_lake, places_of, write_positions
from training.stress.scenario import SCENARIOS, PricePath, Scenario, price_path, read_scenario
from training.stress.vectorised import walk_vectorised

ROUNDING = 1e-12
"""Sums of a dozen products in another order."""


def totals_of(found):
    return [
        found.called, found.forced, found.sold_amt, found.shortfall_amt,
        found.insolvent_debt_amt, found.shortfalls, found.cured,
    ]  # fmt: skip


def setting(accounts=400, names=30, seed=7, scenario="extreme"):
    book, about = made_book(accounts, names, seed)
    path = price_path(SCENARIOS[scenario], about, seed)
    return book, about, path, clients_who_cure(accounts, 0.5, seed)


@given(
    st.integers(0, 10_000),
    st.integers(0, 1_000_000),
    st.integers(1, 3),
    st.sampled_from(["mild", "normal", "extreme"]),
)
@settings(max_examples=40, deadline=None)
def test_the_compiled_engine_equals_numpy_to_the_cent(seed, depth, deadline, scenario):
    book, _, path, cures = setting(120, 12, seed, scenario)
    cash = np.random.default_rng(seed).integers(0, 2_000_000, book.clients)
    haircut = np.random.default_rng(seed).integers(500_000, 1_000_001, len(book.haircut))
    book = replace(book, cash=cash, haircut=haircut)
    lines = LINES._replace(deadline=deadline)
    found = run_path(book, path, depth / kernel.ONE, lines, cures)
    totals, sold, events = walk_vectorised(book, path, depth, lines, cures)
    assert totals_of(found) == totals[[0, 1, 2, 3, 4, 5, 6]].tolist()
    assert np.array_equal(found.sold_shares, sold)
    assert np.array_equal(found.events, events)
    assert found.events[:, kernel.CALLS_MADE].sum() >= found.called
    assert found.events[:, kernel.ACCOUNTS_SOLD].sum() >= found.forced


def test_neither_threads_nor_the_order_of_clients_change_a_total():
    book, _, path, cures = setting(20_000)
    one = run_path(book, path, 0.3, LINES, cures)
    assert totals_of(run_path(book, path, 0.3, LINES, cures, threads=3)) == totals_of(one)
    order = np.random.default_rng(1).permutation(book.clients)
    again = run_path(book.take(order), path, 0.3, LINES, cures[order])
    assert totals_of(again) == totals_of(one)


def test_linear_revaluation_is_the_sum_of_products():
    book, about, _, _ = setting(300)
    value = about.price[book.symbol] * book.shares / 10_000
    equity = np.add.reduceat(value, book.pointer[:-1]) - book.owed / 100
    returns = np.random.default_rng(3).normal(-0.1, 0.1, (len(about.price), 64))
    loss, scratch = np.zeros(64), np.zeros(64)
    kernel.linear(0, book.clients, book.pointer, book.symbol, value, equity, returns, loss, scratch)
    change = np.add.reduceat(value[:, None] * returns[book.symbol], book.pointer[:-1], axis=0)
    expected = np.maximum(-(equity[:, None] + change), 0).sum(axis=0)
    assert loss == pytest.approx(expected, rel=ROUNDING)


def test_the_zero_scenario_moves_no_price():
    _, about, path, _ = setting(scenario="zero")
    assert (path.price == about.price[None, :]).all()
    assert path.open_to_sale.all()


def test_a_deeper_fall_without_noise_calls_no_fewer():
    book, about, _, cures = setting()
    called = []
    for fall in (0.0, 0.1, 0.2, 0.3, 0.5):
        path = price_path(Scenario("fall", -fall), about, 1)
        called.append(run_path(book, path, 1.0, LINES, cures).called)
    assert called == sorted(called)
    assert called[-1] > called[0]


def test_what_is_locked_or_suspended_is_not_sold_and_no_more_is_sold_than_held():
    book, _, path, cures = setting()
    found = run_path(book, path, 0.3, LINES, cures)
    assert found.sold_amt > 0
    assert (found.sold_shares[path.open_to_sale == 0] == 0).all()
    held = np.bincount(book.symbol, weights=book.shares, minlength=path.price.shape[1])
    assert (found.sold_shares.sum(axis=0) <= held).all()
    nothing = PricePath(path.price, np.zeros_like(path.open_to_sale))
    assert run_path(book, nothing, 1.0, LINES, cures).sold_amt == 0


def test_forced_sales_that_move_prices_cost_at_least_as_much_and_settle():
    book, _, path, cures = setting(2000)
    volume = np.full(path.price.shape[1], 1_000_000.0)
    found = with_feedback(book, path, 0.5, LINES, cures, volume)
    assert found.rounds >= 1
    assert found.final.shortfall_amt >= found.without.shortfall_amt
    assert found.amplification >= 1.0
    unknown = with_feedback(book, path, 0.5, LINES, cures, np.full(len(volume), np.nan))
    assert unknown.rounds == 0
    assert totals_of(unknown.final) == totals_of(unknown.without)


def test_losses_of_the_groups_sum_to_the_loss_of_the_book():
    book, _, path, cures = setting()
    losses = group_losses(book, path, 0.3, LINES, cures)
    assert int(losses.sum()) == run_path(book, path, 0.3, LINES, cures).shortfall_amt


def test_draws_depend_on_the_seed_and_their_number_alone():
    book, about, _, cures = setting(200)
    calm = Scenario("draw", 0.0, 1.0, 0.6)
    few = monte_carlo(book, about, 0.02, calm, LINES, cures, draws=8, seed=5)
    more = monte_carlo(book, about, 0.02, calm, LINES, cures, draws=20, seed=5, threads=2)
    assert (more.shortfall_amt[:8] == few.shortfall_amt).all()
    assert few.expected_shortfall(0.5) >= few.expected_shortfall(0.0)
    assert few.at_risk(0.95)["lar_amt"] >= few.at_risk(0.5)["lar_amt"]


def test_reverse_stress_finds_a_fall_that_just_empties_the_pool():
    book, about, _, cures = setting(1000)
    pool = 5_000_000
    fall = reverse(book, about, Scenario("r", 0.0), LINES, cures, pool, 7)
    assert fall is not None

    def loss(at):
        return run_path(
            book, price_path(Scenario("r", -at), about, 7), 1.0, LINES, cures
        ).shortfall_amt

    assert loss(fall) > pool
    assert loss(fall - 0.95 / 4096) <= pool
    assert reverse(book, about, Scenario("r", 0.0), LINES, cures, 10**17, 7) is None


def test_a_loss_is_borne_in_order_and_nothing_of_it_disappears():
    borne = draw_down(150, [("pool", 100), ("capital", 30)])
    assert [b["layer"] for b in borne] == ["pool", "capital", "uncovered"]
    assert [borne[0]["used_amt"], borne[1]["used_amt"], borne[2]["uncovered_amt"]] == [100, 30, 20]


def test_a_scenario_file_is_read_and_a_wrong_one_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("shock_ratio: -0.15\nlock_sessions: 1\nsessions: 5\n")
    assert read_scenario(str(path)) == Scenario("mine", -0.15, lock_sessions=1, sessions=5)
    path.write_text("shock: -0.15\n")
    with pytest.raises(InputError, match=r"mine\.yaml is no scenario: .*may say name"):
        read_scenario(str(path))
    path.write_text("shock_ratio: -2\n")
    with pytest.raises(InputError, match=r"shock_ratio is -2; it lies in -0\.99 to 10"):
        read_scenario(str(path))
    with pytest.raises(InputError, match="there is no scenario 'worst'; there are: zero, mild"):
        read_scenario("worst")


def test_a_client_beyond_the_engines_integers_is_refused():
    book, _, path, cures = setting(10)
    large = replace(book, owed=np.full(10, 2**62))
    with pytest.raises(InputError, match="more than the engine's integers hold"):
        run_path(large, path, 1.0, LINES, cures)


def test_positions_are_liquidated_where_collateral_times_threshold_falls_below_debt(cli, tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text(
        "user,collateral,debt,threshold\na,100,80,8300\nb,100,60,8300\nc,50,0,0.81\nd,100,79.9,0.8\n"
    )
    document = cli("stress", path, "--scenario", "zero", "--json").document
    assert (document["policy"], document["accounts"], document["indebted"]) == ("none", 4, 3)
    assert document["collateral"] == "350.000000"
    by = {row["name"]: row for row in document["falls"]}
    # health factors 1.0375, 1.383 and 1.00125
    assert [by[f"fall {k}%"]["liquidated"] for k in (0, 5, 20, 30)] == [0, 2, 2, 3]
    assert by["fall 0%"]["shortfall"] == "0.000000"
    # at once, at half the price: 100 x 0.5 less than 80 and 79.9, and less 5 % on what is sold
    assert by["fall 50%"]["shortfalls"] >= 2


def test_positions_without_a_column_or_with_a_wrong_threshold_are_refused(cli, tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text("collateral,debt\n1,1\n")
    ran = cli("stress", path, "--scenario", "zero")
    assert ran.code == gearline.REFUSED
    assert "has no column 'threshold'" in ran.err
    path.write_text("collateral,debt,threshold\n1,1,-3\n")
    assert "negative value" in cli("stress", path, "--scenario", "zero").err


def test_the_pack_none_decides_on_nobody_and_says_why(cli, tmp_path):
    policy = load_pack(STRESS_ONLY).on(EFFECTIVE)
    cases = [make_case(f"c{k}") for k in range(3)]
    frame = make_frame(BUNDLE, [c.client_id for c in cases], [TYPICAL] * 3)
    nothing: Any = None  # refused before anything is looked at
    said = "onboarding is refused: policy pack 'none' states no law to lend under"
    with pytest.raises(InputError, match=said):
        decide_columns(cases, frame, BUNDLE, policy, MARKETS["us"])
    with pytest.raises(InputError, match=said):
        decide(cases[0], make_frame(BUNDLE, ["c0"], [TYPICAL]), BUNDLE, policy, MARKETS["us"])
    with pytest.raises(InputError, match=said):
        decide_prepared(nothing, nothing, nothing, policy, nothing)
    for verb in ("reprice", "stress"):
        ran = cli(verb, tmp_path, "--policy", "none")
        assert ran.code == gearline.REFUSED
    assert cli("policy", "show", "none", "--as-of", "2020-01-02").code == gearline.DONE
    assert STRESS_ONLY not in PACK_NAMES


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10_000)),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=15, deadline=None)
def test_positions_come_back_from_the_contracts_as_they_were_given(tmp_path_factory, rows):
    lake = tmp_path_factory.mktemp("positions") / "lake"
    collateral, debt, threshold = (np.array(c, dtype=np.int64) for c in zip(*rows, strict=True))
    given_ones = Positions(collateral / 100, debt / 1e6, threshold / 10_000)
    assert write_positions(given_ones, lake) == places_of(given_ones)
    report = check_lake(lake)
    assert (report.quarantined, dict(report.stopped)) == (0, {})
    book, names = book_of_lake(lake)
    scale = 10 ** places_of(given_ones)
    worth = np.zeros(len(rows))
    owner = np.repeat(np.arange(len(rows)), np.diff(book.pointer))
    np.add.at(worth, owner, names.price[book.symbol] * book.shares // 100)
    step = names.price[0] // 100
    assert np.abs(worth - given_ones.collateral * scale).max() <= step
    assert np.abs(book.owed - given_ones.debt * scale).max() <= 1
    assert (book.haircut[book.symbol] == threshold[owner] * 100).all()


def test_large_positions_are_kept_in_fewer_places_and_larger_ones_refused():
    one = np.array([1.0])
    assert places_of(Positions(one, one, one)) == 6
    assert places_of(Positions(one * 6.2e7, one, one)) == 5
    with pytest.raises(InputError, match="give larger units"):
        places_of(Positions(one, one * 1e16, one))


def test_positions_are_reported_with_the_refusal_and_what_went_through_the_contracts(cli, tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text("collateral,debt,threshold\n100,80,8300\n100,60,8300\n50,0,0.81\n")
    document = cli("stress", path, "--scenario", "extreme", "--json").document
    assert document["onboarding"] == "refused"
    assert document["onboarding_reason"].startswith("onboarding is refused: policy pack 'none'")
    # two securities with a bar each, three clients, accounts and holdings, two loans
    assert (document["rows"], document["quarantined"]) == (2 + 2 + 3 + 3 + 3 + 2, 0)


@pytest.mark.long
def test_with_no_shock_the_desk_decides_what_the_night_decided_byte_for_byte(
    small_demo, cli, undocumented_keys
):
    last = sorted(p.name for p in (small_demo.path / "runs").iterdir())[-1]
    night = last[:10]
    command = ("stress", small_demo.path, "--as-of", night, "--draws", 20, "--json")
    zero = cli(*command, "--scenario", "zero")
    assert zero.code == gearline.DONE, zero.err
    document = zero.document
    assert document["zero_shock_equals_production"] is True
    stored = [
        digest
        for path in sorted((small_demo.path / "runs" / last).glob("bucket=*/decisions.parquet"))
        for digest in pq.read_table(path, partitioning=None)["decision_sha256"].to_pylist()
    ]
    import hashlib

    assert document["decisions_sha256"] == hashlib.sha256(b"".join(stored)).hexdigest()
    assert undocumented_keys(document) == []
    extreme = cli(*command, "--scenario", "extreme").document
    assert extreme["decisions_sha256"] == document["decisions_sha256"]
    assert extreme["decisions_after_sha256"] != document["decisions_sha256"]
    assert extreme["zero_shock_equals_production"] is None
    assert extreme["final"]["called"] >= document["final"]["called"]


@pytest.fixture
def undocumented_keys():
    """Keys that a stress document prints and docs/json.md does not know, or the reverse."""
    import re
    from pathlib import Path

    page = (Path(__file__).resolve().parents[2] / "docs" / "json.md").read_text("utf-8")
    section = re.split(r"^## ", page.partition("## `stress`")[2], flags=re.MULTILINE)[0]
    keys = {
        k.partition(".")[0].removesuffix("[]")
        for k in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    }

    def compare(document):
        return sorted(keys ^ document.keys())

    return compare
