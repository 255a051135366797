"""The desk's study and page: scenarios side by side, sessions, moving margins, the frontier."""

import argparse
import json
import re
from typing import Any

import numpy as np
import pytest

from models.margin.security import LEAST_MARGIN
from training.bench.stress import LINES, made_book
from training.report.texts import same
from training.stress.margins import KINDS, counted_by, margins_along
from training.stress.page import bars_by_group, render, write_stress
from training.stress.report import Desk, paths_report
from training.stress.scenario import SCENARIOS, price_path

ACCOUNTS, NAMES = 3_000, 40
MOST_STEP = 0.02
ROUNDING = 1e-12


@pytest.fixture(scope="module")
def desk():
    book, names = made_book(ACCOUNTS, NAMES, 7)
    rng = np.random.default_rng(7)
    no_panel: Any = None  # a replay alone reads it
    return Desk(
        book, names, np.full(NAMES, 2e6), 0.02, LINES, no_panel, 0, rng.uniform(0.2, 0.5, NAMES),
        names.volatility, 100_000,
    )  # fmt: skip


@pytest.fixture(scope="module")
def document(desk):
    arguments = argparse.Namespace(scenario="extreme", seed=7, threads=1, cure=0.5, draws=20)
    found = paths_report(arguments, desk, 10_000_000, lambda *_: None)
    extra = {
        "as_of": "2024-03-15", "currency": "CNY", "decisions_sha256": "ab" * 32, "decisions": 1,
        "zero_shock_equals_production": True,
    }  # fmt: skip
    return found | extra


def test_margins_that_do_not_move_change_nothing(desk):
    still = price_path(SCENARIOS["zero"], desk.names, 1)
    raw, held = margins_along(still, desk.names.price, desk.margin, desk.volatility)
    for margins in (raw, held):
        assert margins == pytest.approx(np.broadcast_to(desk.margin, margins.shape), abs=ROUNDING)
        counted = counted_by(margins, desk.margin, desk.book.haircut)
        assert (counted == desk.book.haircut).all()
    certain = np.ones(NAMES)
    assert (counted_by(raw, certain, desk.book.haircut) == desk.book.haircut).all()


def test_the_layer_raises_a_margin_by_two_points_a_session_at_most(desk):
    path = price_path(SCENARIOS["extreme"], desk.names, 3)
    raw, held = margins_along(path, desk.names.price, desk.margin, desk.volatility)
    start = np.clip(desk.margin, LEAST_MARGIN, 1.0)
    steps = np.diff(np.vstack([start[None, :], held]), axis=0)
    assert steps.max() <= MOST_STEP + ROUNDING
    assert steps.max() > 0
    assert (raw <= 1.0).all()
    assert (held <= np.maximum(np.maximum.accumulate(raw), start) + ROUNDING).all()


def test_the_layer_spares_calls_that_moving_margins_induce(document):
    found = document["procyclicality"]
    by = {r["margins"]: r for r in found["margins"]}
    assert tuple(by) == KINDS
    assert by["fixed"]["calls"] < by["damped"]["calls"] <= by["raw"]["calls"]
    assert found["induced_share"] == found["induced_damped"] / found["induced_raw"]
    assert by["fixed"]["called"] == document["final"]["called"]


def test_sessions_and_scenarios_sum_to_the_document(document):
    assert sum(r["calls"] for r in document["by_session"]) >= document["final"]["called"]
    assert [r["forced"] for r in document["by_session"][:2]] == [0, 0]  # locked
    ladder = {r["scenario"]: r for r in document["ladder"]}
    assert ladder["extreme"]["shortfall_amt"] == document["final"]["shortfall_amt"]
    losses = [float(ladder[k]["shortfall_amt"]) for k in ("zero", "mild", "normal", "extreme")]
    assert losses == sorted(losses)
    assert losses[-1] > 0
    assert document["amplification"] >= 1.0


def test_a_loss_falls_on_clients_then_pool_then_capital(document):
    used = {b["layer"]: float(b["used_amt"]) for b in document["draw_down"]}
    assert list(used) == ["client", "pool", "capital", "uncovered"]
    loss = float(document["final"]["shortfall_amt"])
    assert used["client"] == pytest.approx(loss / 10, abs=0.01)
    assert sum(used.values()) == pytest.approx(loss, abs=0.01)


def test_where_little_can_be_sold_a_session_no_deeper_fall_empties_the_pool_than_where_all_can(
    document,
):
    falls = [r["fall_ratio"] for r in document["frontier"]]
    assert all(f is None or 0 < f <= 0.95 for f in falls)
    assert falls[0] is not None
    assert falls[-1] is None or falls[0] <= falls[-1]


def test_every_picture_of_the_page_has_its_table_and_stands_alone(document, tmp_path):
    path = write_stress(tmp_path / "out", document)
    page = (tmp_path / "out" / "stress.html").read_text("utf-8")
    assert path.endswith("stress.html")
    assert json.loads((tmp_path / "out" / "stress.json").read_bytes()) == json.loads(
        json.dumps(document)
    )
    assert not re.search(r"(?:src|href)=", page)
    for section in page.split("<section>")[1:]:
        assert "<table>" in section
        pictures = section.count('role="img"')
        assert pictures in (0, 2)  # once a language
        assert section.count("<title id=") == pictures
    calls = [r["calls"] for r in document["by_session"]]
    drawn = re.findall(r'<rect[^>]*data-value="([\d.]+)"', page)
    assert all(repr(float(c)) in drawn for c in calls)
    for word in ("None", "nan", "{'"):
        assert f">{word}<" not in page


def test_without_an_induced_call_the_page_says_that_the_share_does_not_apply(document):
    calm = document["procyclicality"] | {"induced_share": None}
    page = render(document | {"procyclicality": calm, "zero_shock_equals_production": None})
    assert "the share does not apply" in page
    assert "✓ With no shock" not in page


def test_bars_carry_their_figures_and_a_mark_beside_the_colour():
    picture = bars_by_group(
        "b", same("t"), same("d"), [same("1"), same("2")],
        [(same("up"), "#111111", "+", [3.0, 0.0]), (same("down"), "#222222", "−", [1.0, 5.0])],
        "en",
    )  # fmt: skip
    assert picture.count("data-value") == 4
    assert "+3" in picture
    assert "−5" in picture
    assert "+ up" in picture
