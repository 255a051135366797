"""Books on generated markets: who is looked at, what the lender sees of them, what is true."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from data_contracts.lake import LakeInfo, create_lake
from data_contracts.units import RATIO_ONE, BoolArray, FloatArray, IntArray
from features.asof import BookHistory
from features.book import BookAsOf
from features.build import build_frame
from features.definitions.risk import holdings_returns
from features.panel import PricePanel
from features.sets import FeatureSet
from training.lab.engine import Clients
from training.lab.generated.markets import generate, seed_of, state_after
from training.lab.lake import write_lake
from training.lab.random import client_key, uniform_table
from training.lab.rules import MarginRules
from training.lab.simulate import Stage, cast_of, set_stage, simulate_block
from training.lab.strengths import Strengths
from training.lab.truth.hazard import (
    HORIZON_SESSIONS,
    OUTCOMES,
    joined,
    realised,
    some,
    stand,
    true_hazards,
)
from training.labels import Outcomes, cohort_of, default_within, load_outcomes

NEAR: Final = 1.8
"""Maintenance ratio below which discrimination matters: domain.md 3.1."""
LOOK_BACK: Final = 60
_OF_BOOK, _OF_SAMPLE, _OF_PATHS = 1 << 41, 1 << 42, 1 << 43


@dataclass(frozen=True)
class Plan:
    """How books are made: the market to draw from, its rules, who lives there and for how long.

    Attributes
    ----------
    source : the real market, not wider than what is wanted of it
    strengths : of behaviour, one book each on every market
    clients : of each book
    """

    source: PricePanel
    rules: MarginRules
    strengths: tuple[Strengths, ...]
    clients: int
    sessions: int
    feature_set: FeatureSet
    seed: int


@dataclass(frozen=True)
class Seen:
    """Rows of clients in debt, one array a column: what the lender knows of them.

    Attributes
    ----------
    market : number of the generated market, which is the cluster
    strength : which of the plan's
    weight : clients in debt that a row stands for
    ratio : maintenance ratio, assets over all owed
    distance : ln(R / R_call) / (s sqrt(60)), s the 60-session volatility of the assets
    values : int64, shape (n, features)
    """

    market: IntArray
    strength: IntArray
    weight: FloatArray
    ratio: FloatArray
    distance: FloatArray
    values: IntArray


@dataclass(frozen=True)
class Known:
    """What is true of rows, by ``OUTCOMES``.

    Attributes
    ----------
    hazard, even, odd : float64, shape (n, 3), on all inner paths, those of even and of odd number
    fresh : 1 or 0, on one path that the state lives alone
    outer : 1 or 0, on the path of its own market
    """

    hazard: FloatArray
    even: FloatArray
    odd: FloatArray
    fresh: IntArray
    outer: IntArray


class Book:
    """One book on one generated market, with its lake read back."""

    def __init__(self, plan: Plan, panel: PricePanel, number: int, strength: int) -> None:
        days = panel.sessions
        self.stage: Stage = set_stage(
            panel, plan.rules, int(client_key(plan.seed, _OF_BOOK + number)) >> 1, days[0].item(),
            days[-1].item(), plan.strengths[strength],
        )  # fmt: skip
        book = simulate_block(self.stage, 0, plan.clients, 1)
        people = self.stage.people(0, plan.clients)
        self.who: Clients = cast_of(self.stage, people)
        self.place = {name: k for k, name in enumerate(people.client_ids)}
        with tempfile.TemporaryDirectory() as folder:
            bare, lake = Path(folder) / "market", Path(folder) / "lake"
            create_lake(bare, LakeInfo(panel.currency, panel.mic, 1, f"generated {number}", ()))
            write_lake(book, panel, bare, lake, buckets=1)
            self.history = BookHistory.load(lake, panel)
            self.outcomes: Outcomes = load_outcomes(lake, panel)


def market(plan: Plan, number: int) -> PricePanel:
    """The generated market of a number."""
    return generate(
        plan.source, seed_of(plan.seed, number), sessions=plan.sessions,
        first_day=plan.source.sessions[0].astype("datetime64[D]").item(),
    )  # fmt: skip


def in_debt(book: BookAsOf) -> BoolArray:
    """Clients at risk of a first default: in debt, with none in the last 60 sessions."""
    chosen: BoolArray = (book.owed > 0) & ~book.in_default
    return chosen


def maintenance(book: BookAsOf) -> FloatArray:
    """Assets over all owed; infinite for nothing owed."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(book.owed > 0, book.assets / book.owed, np.inf)


def distance_to_call(book: BookAsOf, call_e6: int) -> FloatArray:
    """ln(R / R_call) / (s sqrt(60)) from the lender's own call line; infinite without risk.

    s is the sample standard deviation of the returns that today's holdings had over up to 60
    sessions, times the securities' share of assets.
    """
    returns = holdings_returns(book, LOOK_BACK)
    with np.errstate(divide="ignore", invalid="ignore"):
        s = np.std(np.nan_to_num(returns), axis=1, ddof=1)
        s = s * np.where(book.assets > 0, book.securities / book.assets, 1.0)
        height = np.log(maintenance(book) / (call_e6 / RATIO_ONE))
        out = height / (s * np.sqrt(HORIZON_SESSIONS))
    return np.asarray(np.nan_to_num(out, nan=0.0, posinf=1e9, neginf=-1e9))


def sample(ratio: FloatArray, most: int, seed: int, place: int) -> tuple[IntArray, FloatArray]:
    """Up to ``most`` states, half of them with a ratio below ``NEAR`` where there are so many.

    Within each of the two strata states are drawn evenly; a weight is the stratum's size over what
    was drawn of it. What one stratum lacks the other gives.
    """
    lot = uniform_table(seed, np.arange(len(ratio)), place, 1)[:, 0]
    near = ratio < NEAR
    low = min(int(near.sum()), max((most + 1) // 2, most - int((~near).sum())))
    rows, weights = [], []
    for stratum, take in ((near, low), (~near, most - low)):
        members = np.flatnonzero(stratum)
        drawn = members[np.argsort(lot[members], kind="stable")[:take]]
        rows.append(np.sort(drawn))
        weights.append(np.full(len(drawn), len(members) / max(len(drawn), 1)))
    return np.concatenate(rows), np.concatenate(weights)


def judged(
    plan: Plan, number: int, as_of: Sequence[int], states: int, paths: int
) -> tuple[Seen, Known]:
    """States of one generated market, of each strength, with the truth about them.

    Parameters
    ----------
    as_of : sessions of the market
    states : at each of them, of each strength
    """
    panel = market(plan, number)
    books = [Book(plan, panel, number, k) for k in range(len(plan.strengths))]
    seen, known = [], []
    for t in as_of:
        generated = state_after(plan.source, seed_of(plan.seed, number), session=t)
        parts, outer, alone = [], [], []
        for k, book in enumerate(books):
            as_known = book.history.as_of(panel.sessions[t].astype("datetime64[D]").item())
            at_risk = np.flatnonzero(in_debt(as_known))
            ratio = maintenance(as_known)[at_risk]
            chosen, weight = sample(ratio, states, plan.seed, _OF_SAMPLE + number * 4096 + t)
            rows = at_risk[chosen]
            clients = np.array([book.place[as_known.client_ids[r]] for r in rows], dtype=np.int64)
            part = stand(book.stage, generated, some(book.who, clients), t)
            parts.append(part)
            outer.append(realised(part, book.stage))
            alone.append(np.arange(len(rows)))
            seen.append(_seen(plan, as_known, rows, weight, number, k))
        everyone = joined(parts)
        found = true_hazards(
            everyone, int(client_key(plan.seed, _OF_PATHS + number * 4096 + t)) >> 1, paths=paths,
            fresh=np.concatenate(alone), threads=1,
        )  # fmt: skip
        known.append(
            Known(
                np.stack([found.of(o) for o in OUTCOMES], axis=1),
                np.stack([found.half(o, False) for o in OUTCOMES], axis=1),
                np.stack([found.half(o, True) for o in OUTCOMES], axis=1),
                found.fresh,
                np.concatenate(outer),
            )
        )
    return together(seen), together_known(known)


def taught(plan: Plan, number: int, as_of: Sequence[int]) -> tuple[Seen, IntArray]:
    """All clients in debt of one generated market with their ``default_60`` labels, 1 or 0.

    Censored labels are left out, as the project's training does.
    """
    panel = market(plan, number)
    seen, labels = [], []
    for k in range(len(plan.strengths)):
        book = Book(plan, panel, number, k)
        for t in as_of:
            as_known = book.history.as_of(panel.sessions[t].astype("datetime64[D]").item())
            label = default_within(book.outcomes, cohort_of(book.outcomes, as_known)).label
            rows = np.flatnonzero(in_debt(as_known) & (label >= 0))
            seen.append(_seen(plan, as_known, rows, np.ones(len(rows)), number, k))
            labels.append(label[rows])
    return together(seen), np.concatenate(labels)


def _seen(
    plan: Plan, book: BookAsOf, rows: IntArray, weight: FloatArray, number: int, strength: int
) -> Seen:
    return Seen(
        np.full(len(rows), number, dtype=np.int64),
        np.full(len(rows), strength, dtype=np.int64),
        weight,
        maintenance(book)[rows],
        distance_to_call(book, plan.rules.call)[rows],
        build_frame(book, plan.feature_set).values[rows],
    )


def together(parts: Sequence[Seen]) -> Seen:
    """Rows of several sessions or markets, one after another."""
    return Seen(*(np.concatenate([getattr(p, n) for p in parts]) for n in Seen.__annotations__))


def together_known(parts: Sequence[Known]) -> Known:
    """As ``together``."""
    return Known(*(np.concatenate([getattr(p, n) for p in parts]) for n in Known.__annotations__))
