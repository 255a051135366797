"""The clients of a panel: who opens when with what, and what a lender knows of them by then.

A client lives some months in the laboratory before it opens the account that is compared: that is
the history its behavioural features are made of. The portfolio it means to open with is chosen at
the opening session and is the same under every rule of lending.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.lake import LakeInfo, create_lake
from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray, IntArray
from features.asof import BookHistory
from features.build import build_frame
from features.panel import PricePanel
from features.sets import BEHAVIOURAL
from models.margin.scenarios import ScenarioSource
from models.margin.structural import structural_risk
from training.frontier.windows import TERM_SESSIONS, Vintage, Window, history_end, part_of, vintages
from training.lab.behaviour import PARAMETERS
from training.lab.lake import write_lake
from training.lab.mechanics import MAX_HOLDINGS
from training.lab.openings import Cast, with_portfolios
from training.lab.people import GROUP_BLOCK, People
from training.lab.random import normal_table, uniform_table
from training.lab.rules import MarginRules, cn_rules
from training.lab.simulate import Stage, set_stage, simulate_block
from training.lab.strengths import STRENGTHS

HISTORY_SESSIONS: Final = 125
LEAST_HISTORY: Final = 60
LEAD: Final = 70
"""Rows before a window that the laboratory judges trends by."""
RATIO_E6: Final = 500_000
"""The exchange's margin ratio, at its lowest of all years throughout: the rules compared bind."""
CENTRE_DESIRED, LEAST_DESIRED, MOST_DESIRED = 1.96, 1.05, 3.0
"""Of intended leverage; the centre makes the median client's 1.8."""
_DESIRE: Final = (1 << 40) + 900
_OPENING: Final = (1 << 40) + 901
VAR_SESSIONS: Final = 250
_LEVERAGE, _NAMES = PARAMETERS.index("leverage"), PARAMETERS.index("names")


@dataclass(frozen=True)
class OpeningStage(Stage):
    """A stage whose people want the leverage and the number of names that the comparison asks for."""

    def people(self, low: int, count: int) -> People:
        """The clients numbered ``low`` onwards."""
        made = super().people(low, count)
        p = made.parameters.copy()
        own = (p[:, _LEVERAGE] - 1.67) / 0.5
        noise = normal_table(self.seed, made.numbers, _DESIRE, 1)[:, 0]
        wanted = CENTRE_DESIRED * np.exp(0.22 * own + 0.20 * noise)
        p[:, _LEVERAGE] = np.round(np.clip(wanted, LEAST_DESIRED, MOST_DESIRED), 9)
        p[:, _NAMES] = np.clip(np.rint(1.5 * p[:, _NAMES]), 1, MAX_HOLDINGS)
        return replace(made, parameters=p)


@dataclass(frozen=True)
class Openings:
    """n clients of one window and panel, in order of their month; one array a column.

    Attributes
    ----------
    month : number of the vintage
    number, group, opens, ends, desired, names, symbol, weight, parameters : as in ``Cast``; sessions
        are rows of the window's own market, symbols its own positions
    forced, stressed, short : float32, shape (n, G), structural risks on the grid of leverages
    features : int64, shape (n, 43), ``behavioural/1`` as of the last session before the month
    largest, effective_names : largest weight, 1 over the sum of squared weights
    haircut, volatility, young_board, special : weighted means over the portfolio
    var, es : one-session 99 % EWMA VaR and 97.5 % historical ES of the portfolio
    beta, crowding, trend : weighted means: slope on the market, turnover of ten sessions over that of
        60, return of 60 sessions
    """

    month: IntArray
    number: IntArray
    group: IntArray
    opens: IntArray
    ends: IntArray
    desired: FloatArray
    names: IntArray
    symbol: IntArray
    weight: FloatArray
    parameters: FloatArray
    forced: FloatArray
    stressed: FloatArray
    short: FloatArray
    features: IntArray
    largest: FloatArray
    effective_names: FloatArray
    haircut: FloatArray
    volatility: FloatArray
    young_board: FloatArray
    special: FloatArray
    var: FloatArray
    es: FloatArray
    beta: FloatArray
    crowding: FloatArray
    trend: FloatArray

    def blended(self, share: float) -> FloatArray:
        """The structural chance with a share of stress, shape (n, G)."""
        return np.asarray((1.0 - share) * self.forced + share * self.stressed)

    def cast(self) -> Cast:
        """As the engine takes them."""
        return Cast(
            self.number, self.group, self.parameters, self.opens, self.ends, self.desired,
            self.names, self.symbol, self.weight,
        )  # fmt: skip

    def take(self, rows: BoolArray | IntArray) -> Openings:
        """Some of the clients."""
        return Openings(*(getattr(self, f.name)[rows] for f in fields(self)))

    def save(self, path: Path) -> None:
        """Write a NumPy archive, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **{f.name: getattr(self, f.name) for f in fields(self)})
        part.rename(path)

    @staticmethod
    def load(path: Path) -> Openings:
        """Read it back."""
        with np.load(path) as found:
            return Openings(**{f.name: found[f.name] for f in fields(Openings)})

    @staticmethod
    def joined(parts: list[Openings]) -> Openings:
        """Several, one after another."""
        return Openings(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Openings))
        )


@dataclass(frozen=True)
class Scene:
    """A window's market, ready to open accounts in.

    Attributes
    ----------
    stage : laboratory of the window, on its own cut of the panel
    names : positions of its names in the whole panel
    first : row of the whole panel that is session 0
    """

    window: Window
    stage: Stage
    names: IntArray
    first: int
    months: tuple[Vintage, ...]

    @property
    def count_from(self) -> int:
        """Session from which on events are counted."""
        days = self.stage.panel.sessions[self.stage.first :].astype("datetime64[D]")
        return int(np.searchsorted(days, np.datetime64(self.window.count_from)))


def rules_for(panel: PricePanel) -> MarginRules:
    """Lines 145/130/110, cure by the next session, one exchange ratio throughout."""
    return cn_rules(len(panel.sessions), ratio_e6=RATIO_E6)


def _stage(panel: PricePanel, seed: int, first: int, last: int, behaviour: float) -> Stage:
    days = panel.sessions.astype("datetime64[D]")
    made = set_stage(
        panel, rules_for(panel), seed, days[first].item(), days[last].item(),
        STRENGTHS[panel.currency].times(behaviour), arrivals=1,
    )  # fmt: skip
    return OpeningStage(**{f.name: getattr(made, f.name) for f in fields(Stage)})


def scene(panel: PricePanel, window: Window, seed: int, behaviour: float = 1.0) -> Scene:
    """Prepare a window."""
    months = vintages(panel, window)
    first, last = int(months[0].rows[0]), int(months[-1].rows[-1])
    low = max(first - LEAD, 0)
    own, names = part_of(panel, low, last)
    return Scene(
        window, _stage(own, seed, first - low, last - low, behaviour), names, first, months
    )


def half_of(panel: PricePanel, half: int, seed: int) -> PricePanel:
    """The market with a random half of its names to choose from; halves 2k and 2k + 1 are whole."""
    n = len(panel.symbols)
    lot = uniform_table(seed, np.arange(n), (1 << 41) + half // 2, 1)[:, 0]
    chosen = (lot < np.median(lot)) == (half % 2 == 0)
    return replace(panel, collateral_eligible=panel.collateral_eligible & chosen[None, :])


def openings_of(
    panel: PricePanel, source: ScenarioSource, place: Scene, vintage: int, clients: int, seed: int
) -> Openings:
    """The clients of one vintage.

    Parameters
    ----------
    panel : the whole market; ``source`` holds its scenarios
    """
    month = place.months[vintage]
    count = -(-clients // GROUP_BLOCK) * GROUP_BLOCK
    low = vintage * 40_000
    people = place.stage.people(low, count)
    p = people.parameters
    u = uniform_table(seed, people.numbers, _OPENING, 1)[:, 0]
    opens = month.rows[(u * len(month.rows)).astype(np.int64)] - place.first
    ends = np.minimum(opens + TERM_SESSIONS, place.stage.sessions)
    empty = np.zeros((count, 1))
    cast = Cast(
        people.numbers, people.group, p, opens, ends, p[:, _LEVERAGE].copy(),
        p[:, _NAMES].astype(np.int64), empty.astype(np.int64), empty,
    )  # fmt: skip
    cast = with_portfolios(place.stage.market, seed, cast)
    kept = np.searchsorted(people.numbers, cast.number)
    features = _features(panel, place, month, people, low, count)[kept]
    known = month.known
    symbol = np.where(cast.symbol >= 0, place.names[np.maximum(cast.symbol, 0)], -1)
    scenarios = source.at(known, names=np.unique(symbol[symbol >= 0]), seed=known)
    risk = structural_risk(scenarios, symbol, cast.weight)
    return Openings(
        month=np.full(len(cast.number), vintage, dtype=np.int64),
        number=cast.number,
        group=cast.group,
        opens=cast.opens,
        ends=cast.ends,
        desired=cast.desired,
        names=cast.names,
        symbol=cast.symbol,
        weight=cast.weight,
        parameters=cast.parameters,
        forced=risk.forced.astype(np.float32),
        stressed=risk.stressed.astype(np.float32),
        short=risk.short.astype(np.float32),
        features=features,
        **_portfolio(panel, source, known, symbol, cast.weight),
    )


def _features(
    panel: PricePanel, place: Scene, month: Vintage, people: People, low: int, count: int
) -> IntArray:
    """Behavioural features of the clients, from a life in the laboratory before the month."""
    end = history_end(panel, month.known, LEAST_HISTORY)
    begin = max(end - HISTORY_SESSIONS + 1, 0)
    own, _ = part_of(panel, max(begin - LEAD, 0), end)
    first = begin - max(begin - LEAD, 0)
    lab = _stage(own, place.stage.seed, first, len(own.sessions) - 1, 1.0)
    lab = replace(lab, strengths=place.stage.strengths)
    book = simulate_block(lab, low, low + count)
    with tempfile.TemporaryDirectory() as folder:
        bare, lake = Path(folder) / "market", Path(folder) / "lake"
        create_lake(bare, LakeInfo(own.currency, own.mic, 1, "history", ()))
        write_lake(book, own, bare, lake, buckets=1)
        history = BookHistory.load(lake, own)
    as_known = history.as_of(own.sessions[-1].astype("datetime64[D]").item())
    frame = build_frame(as_known, BEHAVIOURAL)
    row = {name: k for k, name in enumerate(frame.client_ids)}
    out = np.full((count, frame.values.shape[1]), NULL, dtype=np.int64)
    for k, name in enumerate(people.client_ids):
        if name in row:
            out[k] = frame.values[row[name]]
    return out


def _portfolio(
    panel: PricePanel, source: ScenarioSource, t: int, symbol: IntArray, weight: FloatArray
) -> dict[str, Any]:
    """What the simpler rules look at, as known at row t."""
    at = np.maximum(symbol, 0)
    w = np.where(symbol >= 0, weight, 0.0)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray((w * np.nan_to_num(values)[at]).sum(axis=1))

    back = slice(max(t - VAR_SESSIONS + 1, 1), t + 1)
    returns = np.nan_to_num(source.returns[back]).astype(np.float64)
    market = source.market[back]
    centred = market - market.mean()
    beta = (returns * centred[:, None]).sum(axis=0) / max(float((centred**2).sum()), 1e-12)
    path = np.einsum("nk,tnk->tn", w, returns[:, at])
    decay = 0.94 ** np.arange(len(path))[::-1]
    variance = (decay[:, None] * path**2).sum(axis=0) / decay.sum()
    worst = max(round(0.025 * len(path)), 1)
    es = -np.sort(path, axis=0)[:worst].mean(axis=0)
    with np.errstate(all="ignore"):
        growth = np.prod(1.0 + np.nan_to_num(source.returns[max(t - 59, 1) : t + 1]), axis=0) - 1
        known = np.where(panel.volume_shares == NULL, 0, panel.volume_shares)
        short = known[max(t - 9, 0) : t + 1].mean(axis=0)
        long = known[max(t - 59, 0) : t + 1].mean(axis=0)
        crowding = np.where(long > 0, short / np.maximum(long, 1e-9), 1.0)
    haircut = np.where(panel.haircut[t] == NULL, 650_000, panel.haircut[t]) / RATIO_ONE
    young = np.array([x != "main" for x in panel.board], dtype=np.float64)
    special = panel.special_treatment[t].astype(np.float64)
    return {
        "largest": w.max(axis=1),
        "effective_names": 1.0 / np.maximum((w**2).sum(axis=1), 1e-12),
        "haircut": mean(np.where(panel.special_treatment[t], 0.0, haircut)),
        "volatility": mean(source.volatility[t].astype(np.float64)),
        "young_board": mean(young),
        "special": mean(special),
        "var": 2.326 * np.sqrt(variance),
        "es": np.maximum(es, 1e-4),
        "beta": mean(beta),
        "crowding": mean(crowding),
        "trend": mean(growth),
    }
