"""``bench attainable``: how much of what can be known of a default our scorers know.

Generated markets, whose true hazards are known by inner simulation. Markets that are never judged
teach the scorers as the product does (fit, then calibrate on other markets): ``head`` is what
``gearline train`` fits, ``recipe`` the frozen recipe of ``AdditiveBoosterClassifier``. On other
markets, so out of time, each is compared with the truth and with distance-to-call:

    share = (AUC - AUC of distance-to-call) / (AUC of the truth - AUC of distance-to-call)

The PD map's interval is checked as it is used: from few market years at a time, against the true
mean hazard of each tenth of the judged clients by score.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, PROB_ONE, BoolArray, FloatArray, IntArray
from features.panel import PricePanel
from features.sets import BEHAVIOURAL
from models.calibration import Calibration
from training.bench.truth import (
    BOOKS,
    CLIENTS,
    JUDGED_AT,
    SESSIONS,
    TAUGHT_AT,
    TAUGHT_MARKETS_FROM,
    Sizes,
    _plan,
    _source,
    _watched,
)
from training.calibrate import CalibrationSample, calibrate
from training.estimator import AdditiveBoosterClassifier
from training.fit import Lesson, as_floats, fit_default_60
from training.lab.simulate import threads_or_all
from training.lab.truth import NEAR, OUTCOMES, Known, Seen, judged, taught, together
from training.lab.truth.books import together_known
from training.lab.truth.discrimination import calibration_line, weighted_auc
from training.labels import HORIZON_SESSIONS, YEAR_SESSIONS

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]

CALIBRATING_SHARE: Final = 0.4
"""Share of the teaching markets that calibrate and never fit."""
MARKETS_A_SAMPLE: Final = 8
"""Market years of one calibration whose interval is checked: as many as the PD map asks for."""
REFERENCE_ROWS: Final = 2000
BOOTSTRAPS: Final = 300
TENTHS: Final = 10
NOMINAL: Final = 0.95

Scorer = Callable[[IntArray], FloatArray]


@dataclass(frozen=True)
class Lessons:
    """Rows of the teaching markets with their labels; ``market`` counts from 0."""

    seen: Seen
    label: IntArray
    market: IntArray

    def of(self, chosen: BoolArray) -> tuple[IntArray, IntArray]:
        """Values and labels of some rows."""
        return self.seen.values[chosen], self.label[chosen]


def _head(lessons: Lessons, fits: BoolArray, seed: int) -> Scorer:
    """What ``gearline train`` fits."""
    values, label = lessons.of(fits)
    step = max(len(values) // REFERENCE_ROWS, 1)
    features = BEHAVIOURAL.features
    _, compiled = fit_default_60(
        Lesson(values, label, lessons.market[fits]), [f.name for f in features],
        [f.direction for f in features], values[::step][:REFERENCE_ROWS], seed,
    )  # fmt: skip
    return lambda values: np.asarray(compiled.tables.score(values) / LOG_ODDS_ONE)


def _recipe(lessons: Lessons, fits: BoolArray, seed: int) -> Scorer:
    """The frozen recipe: bags, pairs ranked by FAST, whole markets held out to stop."""
    values, label = lessons.of(fits)
    model = AdditiveBoosterClassifier(
        monotone={k: f.direction for k, f in enumerate(BEHAVIOURAL.features) if f.direction},
        random_state=seed,
    ).fit(as_floats(values), label, groups=lessons.market[fits])
    return lambda x: np.asarray(model.decision_function(as_floats(x)))


SCORERS: Final = {"head": _head, "recipe": _recipe}


def _calibrated(score: FloatArray, lessons: Lessons, rows: BoolArray, seed: int) -> Calibration:
    """The PD map from some rows, a market being both a market year and a block of the market."""
    market = lessons.market[rows]
    unknown = np.full(len(market), -1)
    # clients are not numbered here, so each row stands for one; the block is the wider group
    sample = CalibrationSample(
        score[rows], lessons.label[rows], unknown, market, np.arange(len(market)), market
    )
    return calibrate(sample, seed)


def _integer(score: FloatArray) -> IntArray:
    return np.rint(score * LOG_ODDS_ONE).astype(np.int64)


def calibration_error(prob: FloatArray, hazard: FloatArray, weight: FloatArray) -> float:
    """Mean absolute gap of probability and hazard over tenths of the population by probability."""
    part = _tenths(prob, weight)
    total = np.bincount(part, weights=weight, minlength=TENTHS)
    gap = np.bincount(part, weights=weight * (prob - hazard), minlength=TENTHS)
    return float(np.abs(gap).sum() / total.sum())


def _over_horizon(pd: IntArray) -> FloatArray:
    """A bound of the one-year PD, 1e-9, back to the horizon of the label.

    The undoing of how ``calibrate`` carries a 60-session frequency to a year.
    """
    share = HORIZON_SESSIONS / YEAR_SESSIONS
    return np.asarray(1.0 - (1.0 - pd / PROB_ONE) ** share)


def _tenths(score: FloatArray, weight: FloatArray) -> IntArray:
    """The tenth of the weighted population, by score, that each row lies in."""
    order = np.argsort(score, kind="stable")
    share = np.empty(len(score))
    share[order] = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    return np.minimum((share * TENTHS).astype(np.int64), TENTHS - 1)


def shares(
    score: FloatArray, seen: Seen, known: Known, mine: BoolArray, seed: int
) -> dict[str, float]:
    """AUC over the outcomes that are expected, and shares of the attainable gain with an interval.

    The truth is judged on paths that it was not counted on (even numbers on odd ones), which is a
    little less than it could reach; against ``ceiling``, the truth judged on its own paths, which is
    a little more, the share is smaller. The interval redraws markets.
    """
    default = OUTCOMES.index("default")
    hazard = known.hazard[mine, default]
    even, odd = known.even[mine, default], known.odd[mine, default]
    distance, own = -seen.distance[mine], score[mine]
    weight = seen.weight[mine]
    names, place = np.unique(seen.market[mine], return_inverse=True)

    def measured(w: FloatArray) -> FloatArray:
        pairs = ((own, hazard), (distance, hazard), (even, odd), (hazard, hazard))
        return np.array([weighted_auc(s, e, w) for s, e in pairs])

    def share(areas: FloatArray) -> FloatArray:
        return np.asarray((areas[0] - areas[1]) / (areas[2:] - areas[1]))

    areas = measured(weight)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(BOOTSTRAPS):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        draws.append(share(measured(weight * times[place])))
    low, high = np.nanquantile(np.array(draws)[:, 0], [0.025, 0.975])
    of_truth, of_ceiling = share(areas)
    found = {
        "auc": areas[0], "auc_distance_to_call": areas[1], "auc_truth": areas[2],
        "auc_ceiling": areas[3], "share": of_truth, "share_low": low, "share_high": high,
        "share_of_ceiling": of_ceiling,
    }  # fmt: skip
    return {k: round(float(v), 4) for k, v in found.items()}


def coverage(
    score: FloatArray, lessons: Lessons, rows: BoolArray, seen: Seen, known: Known,
    judged_score: FloatArray, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """How often the interval of the 60-session probability holds the true mean hazard.

    The calibrating markets are dealt into samples of ``MARKETS_A_SAMPLE``; each gives a map, and
    each tenth of the judged clients by score is one question. ``clients_alone`` is what an interval
    would cover that takes clients for independent of one another.
    """
    hazard, weight = known.hazard[:, OUTCOMES.index("default")], seen.weight
    part = _tenths(judged_score, weight)
    total = np.bincount(part, weights=weight, minlength=TENTHS)
    truth = np.bincount(part, weights=weight * hazard, minlength=TENTHS) / total
    at = _integer(judged_score)
    markets = np.random.default_rng(seed).permutation(np.unique(lessons.market[rows]))
    held: dict[str, list[BoolArray]] = {"blocks": [], "clients_alone": []}
    width: list[FloatArray] = []
    samples = len(markets) // MARKETS_A_SAMPLE
    for k in range(samples):
        mine = markets[k * MARKETS_A_SAMPLE : (k + 1) * MARKETS_A_SAMPLE]
        chosen = rows & np.isin(lessons.market, mine)
        if int(lessons.label[chosen].sum()) < 5:
            continue
        for name in held:
            market = lessons.market[chosen]
            block = market if name == "blocks" else np.zeros_like(market)
            sample = CalibrationSample(
                score[chosen], lessons.label[chosen], np.full(len(market), -1), market,
                np.arange(len(market)), block,
            )  # fmt: skip
            made = calibrate(sample, seed + k)
            low, high = (
                np.bincount(part, weights=weight * v, minlength=TENTHS) / total
                for v in map(_over_horizon, made.of_score(at)[1:])
            )
            held[name].append((low <= truth) & (truth <= high))
            if name == "blocks":
                width.append(high / np.maximum(low, 1e-9))
    found = {name: np.array(v, dtype=float) for name, v in held.items()}
    return {
        "nominal": NOMINAL,
        "samples": len(held["blocks"]),
        "market_years_a_sample": MARKETS_A_SAMPLE,
        "coverage": round(float(found["blocks"].mean()), 3),
        "coverage_by_tenth": [round(float(v), 2) for v in found["blocks"].mean(axis=0)],
        "coverage_clients_alone": round(float(found["clients_alone"].mean()), 3),
        "high_over_low": round(float(np.median(np.array(width))), 2),
    }


def attainable(
    source: PricePanel,
    sizes: Sizes,
    behaviour: float,
    seed: int,
    threads: int | None,
    stages: Stages,
    scorers: tuple[str, ...] = tuple(SCORERS),
) -> dict[str, Any]:
    """The experiment; see ``run`` for what it prints."""
    if sizes.markets < 4 * MARKETS_A_SAMPLE or sizes.paths < 2 or sizes.clients < 40:
        raise InputError(
            f"bench attainable needs at least {4 * MARKETS_A_SAMPLE} markets, 2 paths and 40 clients,"
            f" not {sizes.markets}, {sizes.paths} and {sizes.clients}"
        )
    started = time.perf_counter()
    plan = _plan(source, sizes, (behaviour,), seed)
    with ThreadPoolExecutor(max_workers=threads_or_all(threads)) as pool:
        teach = partial(taught, plan, as_of=TAUGHT_AT)
        numbers = range(TAUGHT_MARKETS_FROM, TAUGHT_MARKETS_FROM + sizes.markets)
        parts = list(_watched(pool.map(teach, numbers), "teach", sizes.markets, stages))
        judge = partial(
            judged, plan, as_of=JUDGED_AT, states=sizes.states_at_once, paths=sizes.paths
        )
        work = pool.map(judge, range(sizes.markets))
        pairs = list(_watched(work, "judge", sizes.markets, stages))
    learnt = together([s for s, _ in parts])
    lessons = Lessons(
        learnt, np.concatenate([y for _, y in parts]), learnt.market - TAUGHT_MARKETS_FROM
    )
    seen, known = together([s for s, _ in pairs]), together_known([k for _, k in pairs])
    calibrates = lessons.market >= round(sizes.markets * (1 - CALIBRATING_SHARE))
    hazard = known.hazard[:, OUTCOMES.index("default")]
    rows: list[dict[str, Any]] = []
    interval: dict[str, Any] = {}
    for done, name in enumerate(scorers):
        stages("fit", done, len(scorers))
        log_odds = SCORERS[name](lessons, ~calibrates, seed)
        taught_score, score = log_odds(lessons.seen.values), log_odds(seen.values)
        made = _calibrated(taught_score, lessons, calibrates, seed)
        prob = made.default_60_of_score(_integer(score)) / PROB_ONE
        for book, mine in _books(seen).items():
            p, h, w = prob[mine], hazard[mine], seen.weight[mine]
            clipped = np.clip(p, 1e-9, 1 - 1e-9)
            intercept, slope = calibration_line(np.log(clipped / (1 - clipped)), h, w)
            base, error = float(np.average(h, weights=w)), calibration_error(p, h, w)
            rows.append(
                {
                    "scorer": name, "book": book, **shares(score, seen, known, mine, seed),
                    "slope": round(slope, 3), "intercept": round(intercept, 3),
                    "base_rate": round(base, 5), "ece": round(error, 5),
                    "ece_over_base_rate": round(error / base, 3), "states": int(mine.sum()),
                }
            )  # fmt: skip
        interval[name] = coverage(taught_score, lessons, calibrates, seen, known, score, seed)
    stages("fit", len(scorers), len(scorers))
    return {
        "markets": sizes.markets,
        "sessions": SESSIONS,
        "states": len(seen.market),
        "paths": sizes.paths,
        "behaviour": behaviour,
        "training_rows": int((~calibrates).sum()),
        "training_defaults": int(lessons.label[~calibrates].sum()),
        "rows": rows,
        "interval": interval,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _books(seen: Seen) -> dict[str, BoolArray]:
    whole = np.ones(len(seen.ratio), dtype=bool)
    return dict(zip(BOOKS, (whole, seen.ratio < NEAR), strict=True))


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench attainable``."""
    sizes = Sizes(
        arguments.markets, arguments.states, arguments.paths, arguments.clients or CLIENTS
    )
    source, flags = _source(arguments.source)
    behaviour = 1.0 if arguments.behaviour is None else arguments.behaviour
    document = attainable(source, sizes, behaviour, arguments.seed, arguments.threads, stages)
    document["flags"] = list(flags)
    lines = [
        f"{document['states']:,} states of {document['markets']} generated markets; taught by"
        f" {document['training_rows']:,} rows with {document['training_defaults']:,} defaults of"
        f" others; {document['seconds']:g} s",
        f"{'scorer':<9}{'book':<11}{'AUC':>7}{'distance':>10}{'truth':>7}{'share':>7}{'low':>7}"
        f"{'high':>7}{'slope':>7}{'ECE/base':>10}",
    ]
    for r in document["rows"]:
        lines.append(
            f"{r['scorer']:<9}{r['book']:<11}{r['auc']:>7.3f}{r['auc_distance_to_call']:>10.3f}"
            f"{r['auc_truth']:>7.3f}{r['share']:>7.2f}{r['share_low']:>7.2f}{r['share_high']:>7.2f}"
            f"{r['slope']:>7.2f}{r['ece_over_base_rate']:>10.2f}"
        )
    for name, found in document["interval"].items():
        lines.append(
            f"{name}: the interval from {found['market_years_a_sample']} market years holds the true"
            f" probability in {found['coverage']:.1%} of cases (nominal {NOMINAL:.0%}; taking clients"
            f" for independent, {found['coverage_clients_alone']:.1%})"
        )
    if document["flags"]:
        lines.append(
            f"drawn from a market that is {', '.join(document['flags'])}: quote no level of default"
        )
    return 0, document, "\n".join(lines)
