"""``gearline stress``: the paths side. The front door adds what the lender's own engine decides."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, RATIO_ONE, FloatArray, IntArray
from features.book import BookAsOf
from features.panel import PricePanel
from models.margin.security import MarketHistory
from models.policy import Policy
from training.stress import kernel
from training.stress.book import StressBook, book_of, clients_who_cure, names_of
from training.stress.desk import (
    Amplified,
    Simulated,
    draw_down,
    group_losses,
    monte_carlo,
    reverse,
    run_path,
    with_feedback,
)
from training.stress.kernel import Lines
from training.stress.margins import KINDS, MOST_INDUCED, counted_by, margins_along
from training.stress.scenario import (
    MOST_SESSIONS,
    SCENARIOS,
    Names,
    PricePath,
    Scenario,
    price_path,
    read_scenario,
)

Stages = Callable[[str, int, int], None]
SALE_COST_E6: Final = 5_000
ADV_SESSIONS: Final = 20
FRONTIER_DEPTHS: Final = (0.05, 0.1, 0.2, 0.3, 0.6, 1.0)
"""Shares of a holding sold a session at which reverse stress looks for the smallest fall."""
BALANCE_FLOOR: Final = 0.01
"""The reserve pool holds at least one per cent of what is lent."""


@dataclass(frozen=True)
class Desk:
    """A book, its market and the lender's lines on one session.

    ``margin`` and ``volatility`` are of each name, shares of value and daily; 1e-6 is the share of
    what collateral does not cover that clients pay (``unsecured_recovery``).
    """

    book: StressBook
    names: Names
    volume_shares: FloatArray
    market_volatility: float
    lines: Lines
    panel: PricePanel
    t: int
    margin: FloatArray
    volatility: FloatArray
    unsecured_recovery: int


def lines_of(policy: Policy) -> Lines:
    """The pack's lines in force."""
    return Lines(
        policy["call_line_ratio"],
        policy["force_line_ratio"],
        policy["target_line_ratio"],
        policy["call_deadline_sessions"],
        SALE_COST_E6,
    )


def desk_of(panel: PricePanel, t: int, views: Sequence[BookAsOf], policy: Policy) -> Desk:
    """Lay a lake's session out for the desk."""
    names = names_of(panel, t)
    recent = panel.volume_shares[max(0, t + 1 - ADV_SESSIONS) : t + 1]
    known = np.where(recent == NULL, np.nan, recent.astype(np.float64))
    with np.errstate(invalid="ignore"):
        counts = np.isfinite(known).sum(axis=0)
        volume = np.where(counts > 0, np.nansum(known, axis=0) / np.maximum(counts, 1), np.nan)
    returns = panel.simple_returns()[max(0, t - 249) : t + 1]
    finite = np.where(np.isfinite(returns), returns, 0.0)
    market = finite.sum(axis=1) / np.maximum(np.isfinite(returns).sum(axis=1), 1)
    history = MarketHistory(panel)
    return Desk(
        book_of(views, names.price), names, volume, float(market.std()), lines_of(policy), panel, t,
        history.margins(t, policy).margin, np.nan_to_num(history.volatility[t]),
        policy["unsecured_recovery_ratio"],
    )  # fmt: skip


def replay_path(desk: Desk, first: np.datetime64, last: np.datetime64) -> PricePath:
    """A stretch of the market's own history from the book's last prices.

    A name that fell by its whole price limit, or did not trade, cannot be sold in that session; one
    without a price then keeps its last.

    Raises
    ------
    InputError
        If the stretch is empty, too long, or not in the market.
    """
    panel = desk.panel
    a, b = panel.session_index(first), panel.session_index(last)
    if not 0 < b - a <= MOST_SESSIONS:
        raise InputError(
            f"a replay from {first} to {last} has {b - a} sessions; it takes 1 to {MOST_SESSIONS}"
        )
    close, before = panel.close[a + 1 : b + 1], panel.pre_close[a + 1 : b + 1]
    known = (close != NULL) & (before != NULL) & (before > 0) & ~panel.suspended[a + 1 : b + 1]
    move = np.where(known, close / np.where(known, before, 1), 1.0)
    price = np.rint(desk.names.price[None, :] * np.cumprod(move, axis=0)).astype(np.int64)
    limit = panel.price_limit[a + 1 : b + 1]
    # half a tick of rounding: a close at the limit is one that sellers could not get past
    locked = (limit != NULL) & (move <= 1 - limit / RATIO_ONE + 0.0006)
    return PricePath(np.maximum(price, 0), (known & ~locked).astype(np.int64))


def _money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"


def _pool(desk: Desk, simulated: Simulated, cures: IntArray, seed: int) -> dict[str, Any]:
    """The reserve pool's target: the largest of expected shortfall, cover-2 and the floor."""
    extreme = SCENARIOS["extreme"]
    losses = group_losses(
        desk.book, price_path(extreme, desk.names, seed), extreme.depth_ratio, desk.lines, cures
    )
    cover = int(np.sort(losses)[::-1][:2].sum())
    lent = int(desk.book.owed.sum())
    shortfall = simulated.expected_shortfall(0.999)
    floor = round(lent * BALANCE_FLOOR)
    return {
        "expected_shortfall_999_amt": _money(shortfall),
        "cover_two_amt": _money(cover),
        "floor_amt": _money(floor),
        "target_amt": _money(max(shortfall, cover, floor)),
        "target_minor": max(shortfall, cover, floor),
    }


def paths_report(
    arguments: argparse.Namespace, desk: Desk, net_capital_amt: int, stages: Stages
) -> dict[str, Any]:
    """What the scenario does to the book, as the document prints it.

    Parameters
    ----------
    net_capital_amt : the lender's capital, minor units: the last layer of the draw-down
    """
    threads = arguments.threads or 1
    cures = clients_who_cure(desk.book.clients, arguments.cure, arguments.seed)
    text: str = arguments.scenario
    kind = text.partition(":")[0]
    scenario = (
        SCENARIOS["extreme"]
        if kind in ("monte-carlo", "reverse", "replay")
        else read_scenario(text)
    )
    if kind == "monte-carlo":
        scenario = Scenario("monte-carlo", 0.0, 1.0, 0.6)
    if kind == "replay":
        parts = text.split(":")
        if len(parts) != 3:
            raise InputError(f"--scenario {text!r}: write replay:FROM:TO with two dates")
        path = replay_path(desk, *(_day(p) for p in parts[1:]))
        scenario = replace(scenario, name=text, depth_ratio=1.0)
    else:
        path = price_path(scenario, desk.names, arguments.seed)
    stages("paths", 0, 1)
    found = with_feedback(
        desk.book, path, scenario.depth_ratio, desk.lines, cures, desk.volume_shares, threads
    )
    stages("paths", 1, 1)
    simulated = monte_carlo(
        desk.book, desk.names, desk.market_volatility, Scenario("draw", 0.0, 1.0, scenario.depth_ratio),
        desk.lines, cures, draws=arguments.draws, seed=arguments.seed, threads=threads,
        progress=lambda done, of: stages("draws", done, of),
    )  # fmt: skip
    pool = _pool(desk, simulated, cures, arguments.seed)
    target = pool.pop("target_minor")
    risk = simulated.at_risk(0.95)
    falls = None
    if kind == "reverse":
        falls = reverse(
            desk.book, desk.names, scenario, desk.lines, cures, target, arguments.seed, threads
        )
    owed, lent = desk.book.owed, int(desk.book.owed.sum())
    owing = found.final.shortfall_amt
    bearers = draw_down(
        owing,
        [
            ("client", owing * desk.unsecured_recovery // RATIO_ONE),
            ("pool", target),
            ("capital", net_capital_amt),
        ],
    )
    stages("study", 0, 1)
    study = study_of(desk, scenario, path, found, cures, target, arguments.seed, threads)
    stages("study", 1, 1)
    return {
        "scenario": scenario.name,
        "clients": desk.book.clients,
        "debtors": int((owed > 0).sum()),
        "debt_amt": _money(lent),
        "base": run_path(desk.book, _still(desk), 1.0, desk.lines, cures, threads).as_dict(),
        "first_round": found.without.as_dict(),
        "final": found.final.as_dict(),
        "rounds": found.rounds,
        "amplification": found.amplification,
        "feedback": bool((np.isfinite(desk.volume_shares) & (desk.volume_shares > 0)).any()),
        "draws": arguments.draws,
        "var_95_amt": _money(risk["var_amt"]),
        "lar_95_amt": _money(risk["lar_amt"]),
        "pool": pool,
        "draw_down": [
            {
                "layer": b["layer"],
                "used_amt": _money(b["used_amt"] if "used_amt" in b else b["uncovered_amt"]),
            }
            for b in bearers
        ],
        "funding_gap_amt": _money(max(found.final.shortfall_amt - target, 0)),
        "reverse_fall_ratio": falls,
        **study,
        "seed": arguments.seed,
    }


def text_of(document: Mapping[str, Any]) -> str:
    """The document for a person."""
    rows = [("nothing happens", document["base"]), (document["scenario"], document["first_round"])]
    if document["rounds"]:
        rows.append((f"after {document['rounds']} rounds", document["final"]))
    lines = [
        f"{document['clients']:,} clients on {document['as_of']}, {document['debtors']:,} with debt,"
        f" {document['debt_amt']} owed",
        f"{'':<28}{'called':>8}{'cured':>8}{'forced':>8}{'sold':>18}{'short':>7}{'shortfall':>16}",
    ]
    for name, r in rows:
        lines.append(
            f"{name:<28}{r['called']:>8,}{r['cured']:>8,}{r['forced']:>8,}{r['sold_amt']:>18}"
            f"{r['shortfalls']:>7,}{r['shortfall_amt']:>16}"
        )
    if not document["feedback"]:
        lines.append("no volumes in this market: forced sales do not move prices")
    pool = document["pool"]
    lines += [
        f"{document['draws']:,} draws: VaR 95 % {document['var_95_amt']}, LaR 95 %"
        f" {document['lar_95_amt']}",
        f"reserve pool {pool['target_amt']}: ES 99.9 % {pool['expected_shortfall_999_amt']}, cover-2"
        f" {pool['cover_two_amt']}, floor {pool['floor_amt']}",
        "borne by " + ", ".join(f"{b['layer']} {b['used_amt']}" for b in document["draw_down"]),
    ]
    p = document["procyclicality"]
    if p["induced_raw"] > 0:
        lines.append(
            f"margins that move induce {p['induced_raw']:,} calls, with the anti-procyclical layer"
            f" {p['induced_damped']:,}"
        )
    if document["reverse_fall_ratio"] is not None:
        lines.append(f"a fall of {document['reverse_fall_ratio']:.1%} empties the pool")
    lines.append(
        f"{document['decisions']:,} decisions of the night: {document['decisions_sha256']}"
    )
    if document["decisions_after_sha256"] is not None:
        lines.append(f"decided again after the shock:  {document['decisions_after_sha256']}")
    if document["zero_shock_equals_production"] is not None:
        same = document["zero_shock_equals_production"]
        lines.append("equal, byte for byte" if same else "NOT EQUAL: the desk decides differently")
    return "\n".join(lines)


def study_of(
    desk: Desk,
    scenario: Scenario,
    path: PricePath,
    found: Amplified,
    cures: IntArray,
    pool_amt: int,
    seed: int,
    threads: int,
) -> dict[str, Any]:
    """What the pictures show: scenarios side by side, sessions, margins that move, the frontier."""
    book, lines, volume = desk.book, desk.lines, desk.volume_shares
    ladder = []
    for one in SCENARIOS.values():
        its = price_path(one, desk.names, seed)
        end = with_feedback(book, its, one.depth_ratio, lines, cures, volume, threads)
        ladder.append(
            {"scenario": one.name, **end.final.as_dict(), "amplification": end.amplification}
        )
    events, sold = found.final.events, found.final.sold_shares
    sessions = [
        {
            "session": t + 1,
            "calls": int(events[t, kernel.CALLS_MADE]),
            "forced": int(events[t, kernel.ACCOUNTS_SOLD]),
            # at the path's own prices, before forced sales move them
            "sold_amt": _money(int((sold[t] * path.price[t] // 100).sum())),
        }
        for t in range(len(events))
    ]
    raw, held = margins_along(path, desk.names.price, desk.margin, desk.volatility)
    counted = {
        "fixed": None,
        "damped": counted_by(held, desk.margin, book.haircut),
        "raw": counted_by(raw, desk.margin, book.haircut),
    }
    depth = scenario.depth_ratio
    runs = {
        kind: with_feedback(book, path, depth, lines, cures, volume, threads, counted[kind])
        for kind in KINDS
    }
    calls = {k: int(r.final.events[:, kernel.CALLS_MADE].sum()) for k, r in runs.items()}
    induced = {k: calls[k] - calls["fixed"] for k in ("damped", "raw")}
    frontier = []
    for share in FRONTIER_DEPTHS:
        thin = replace(scenario, depth_ratio=share)
        fall = reverse(book, desk.names, thin, lines, cures, pool_amt, seed, threads)
        frontier.append({"depth_share": share, "fall_ratio": fall})
    return {
        "ladder": ladder,
        "by_session": sessions,
        "procyclicality": {
            "margins": [
                {
                    "margins": kind, "calls": calls[kind], **run.final.as_dict(),
                    "first_shortfall_amt": _money(run.without.shortfall_amt),
                    "amplification": run.amplification,
                }
                for kind, run in runs.items()
            ],
            "induced_damped": induced["damped"],
            "induced_raw": induced["raw"],
            "induced_share": induced["damped"] / induced["raw"] if induced["raw"] > 0 else None,
            "most_share": MOST_INDUCED,
        },
        "frontier": frontier,
    }  # fmt: skip


def _still(desk: Desk) -> PricePath:
    """Ten sessions in which nothing happens: what the lines do to the book anyway."""
    return price_path(SCENARIOS["zero"], desk.names, 0)


def _day(text: str) -> np.datetime64:
    from data_contracts.units import parse_day

    return np.datetime64(parse_day(text, "--scenario"))


def shocked_panel(panel: PricePanel, t: int, path: PricePath) -> PricePanel:
    """The panel with the last session's closes at the end of a path: what the engine decides on."""
    close = panel.close.copy()
    known = close[t] != NULL
    close[t] = np.where(known, np.maximum(path.price[-1], 1), NULL)
    return replace(panel, close=close)
