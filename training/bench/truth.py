"""``bench truth``: a ceiling, a baseline and a first model against the true hazard of a default.

Generated markets, a book of clients on each, states sampled from it (``training.lab.truth``). The
truth is the share of inner paths with a default within 60 sessions; scores are judged on one more
path, which each state lives alone. Everything is done again with behaviour half and twice as
strong, on the same market paths.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from data_contracts.errors import InputError
from data_contracts.importers import write_sample_market
from data_contracts.lake import lake_info
from data_contracts.units import LOG_ODDS_ONE, BoolArray, FloatArray, IntArray
from features.panel import PricePanel, load_panel
from features.sets import BEHAVIOURAL
from training.fit import Lesson, fit_default_60
from training.lab.generated.markets import SESSIONS_PER_YEAR
from training.lab.generated.source import reduced
from training.lab.rules import cn_rules, reg_t_rules
from training.lab.simulate import threads_or_all
from training.lab.strengths import STRENGTHS
from training.lab.truth import NEAR, OUTCOMES, Known, Plan, Seen, judged, taught, together
from training.lab.truth.books import together_known
from training.lab.truth.discrimination import (
    Area,
    auc_by_cluster,
    calibration_line,
    clustered_z,
    rank_correlation,
    weighted_auc,
)
from training.lab.truth.hazard import HORIZON_SESSIONS, LEAST_PATHS

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
T = TypeVar("T")

BEHAVIOURS: Final = (0.5, 1.0, 2.0)
MOST_BEHAVIOUR: Final = 10.0
MARKETS: Final = 200
STATES: Final = 5000
NAMES: Final = 50
CLIENTS: Final = 300
SESSIONS: Final = 378
JUDGED_AT: Final = (252, 284, 316)
"""Sessions whose states are judged; the last leaves 60 sessions of the market."""
TAUGHT_AT: Final = tuple(range(156, 317, 20))
TAUGHT_MARKETS_FROM: Final = 1 << 20
"""Numbers of the markets that teach: none of them is judged."""
REFERENCE_ROWS: Final = 2000
BOOKS: Final = ("all", "below_1_8")


@dataclass(frozen=True)
class Sizes:
    """How large the experiment is."""

    markets: int = MARKETS
    states: int = STATES
    paths: int = LEAST_PATHS
    clients: int = CLIENTS

    @property
    def states_at_once(self) -> int:
        """States of one market, session and strength."""
        return -(-self.states // (self.markets * len(JUDGED_AT)))


def truth(
    source: PricePanel,
    sizes: Sizes,
    behaviours: Sequence[float],
    seed: int,
    threads: int | None,
    stages: Stages,
) -> dict[str, Any]:
    """The experiment; see ``run`` for what it prints."""
    if sizes.markets < 2 or sizes.states < 1 or sizes.paths < 2 or sizes.clients < 40:
        raise InputError(
            "bench truth needs at least 2 markets, 1 state, 2 paths and 40 clients, not"
            f" {sizes.markets}, {sizes.states}, {sizes.paths} and {sizes.clients}"
        )
    if not all(0 <= b <= MOST_BEHAVIOUR for b in behaviours):
        raise InputError(
            f"--behaviour is a multiple from 0 to {MOST_BEHAVIOUR:g}, not {behaviours}"
        )
    started = time.perf_counter()
    plan = _plan(source, sizes, behaviours, seed)
    with ThreadPoolExecutor(max_workers=threads_or_all(threads)) as pool:
        teach = partial(taught, plan, as_of=TAUGHT_AT)
        numbers = range(TAUGHT_MARKETS_FROM, TAUGHT_MARKETS_FROM + sizes.markets)
        lessons = list(_watched(pool.map(teach, numbers), "teach", sizes.markets, stages))
        learnt, label = together([s for s, _ in lessons]), np.concatenate([y for _, y in lessons])
        of_strength = [_of(learnt.strength, k) for k in range(len(behaviours))]
        models = list(
            _watched(
                pool.map(lambda w: _Model(learnt, label, w, seed), of_strength), "fit",
                len(behaviours), stages,
            )
        )  # fmt: skip
        judge = partial(
            judged, plan, as_of=JUDGED_AT, states=sizes.states_at_once, paths=sizes.paths
        )
        work = pool.map(judge, range(sizes.markets))
        pairs = list(_watched(work, "judge", sizes.markets, stages))
    seen, known = together([s for s, _ in pairs]), together_known([k for _, k in pairs])
    strengths = []
    for k, behaviour in enumerate(behaviours):
        mine = _of(seen.strength, k)
        strengths.append(
            {
                "behaviour": behaviour,
                **_judge(_take(seen, mine), _take(known, mine), models[k], seed),
            }
        )
        stages("compare", k + 1, len(behaviours))
    return {
        "markets": sizes.markets,
        "market_years": round(sizes.markets * SESSIONS / SESSIONS_PER_YEAR, 1),
        "states": len(seen.market) // len(behaviours),
        "paths": sizes.paths,
        "horizon": HORIZON_SESSIONS,
        "names": len(plan.source.symbols),
        "rules": plan.rules.rule_pack,
        "strengths": strengths,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _plan(source: PricePanel, sizes: Sizes, behaviours: Sequence[float], seed: int) -> Plan:
    known = min(NAMES, len(source.symbols))
    rules = (cn_rules if source.currency == "CNY" else reg_t_rules)(SESSIONS)
    usual = STRENGTHS[source.currency]
    return Plan(
        source=reduced(source, known),
        rules=rules,
        strengths=tuple(usual.times(b) for b in behaviours),
        clients=sizes.clients,
        sessions=SESSIONS,
        feature_set=BEHAVIOURAL,
        seed=seed,
    )


def _watched(work: Iterable[T], name: str, total: int, stages: Stages) -> Iterable[T]:
    stages(name, 0, total)
    for k, done in enumerate(work):
        stages(name, k + 1, total)
        yield done


def _of(strength: IntArray, k: int) -> BoolArray:
    chosen: BoolArray = strength == k
    return chosen


Rows = TypeVar("Rows", Seen, Known)


def _take(rows: Rows, chosen: BoolArray) -> Rows:
    return replace(rows, **{n: getattr(rows, n)[chosen] for n in type(rows).__annotations__})


class _Model:
    """The project's ``default_60`` head, fitted on clients in debt of the teaching markets."""

    def __init__(self, learnt: Seen, label: IntArray, chosen: BoolArray, seed: int) -> None:
        values, y = learnt.values[chosen], label[chosen]
        step = max(len(values) // REFERENCE_ROWS, 1)
        features = BEHAVIOURAL.features
        bagged, self.compiled = fit_default_60(
            Lesson(values, y, learnt.market[chosen]), [f.name for f in features],
            [f.direction for f in features], values[::step][:REFERENCE_ROWS], seed,
        )  # fmt: skip
        self.rows, self.defaults = len(y), int(y.sum())
        self.trees = bagged.rounds * len(bagged.boosters)

    def log_odds(self, values: IntArray) -> FloatArray:
        """Of a default within 60 sessions."""
        return np.asarray(self.compiled.tables.score(values) / LOG_ODDS_ONE)


def _judge(seen: Seen, known: Known, model: _Model, seed: int) -> dict[str, Any]:
    """One strength: scores by books, and how near the model comes to the truth."""
    default = OUTCOMES.index("default")
    hazard, fresh = known.hazard[:, default], known.fresh[:, default].astype(np.float64)
    log_odds = model.log_odds(seen.values)
    # The truth is not judged by the paths that it was counted on.
    scores = {
        "truth": (hazard, known.even[:, default], known.odd[:, default]),
        "distance_to_call": (-seen.distance, -seen.distance, hazard),
        "model": (log_odds, log_odds, hazard),
    }
    books = dict(zip(BOOKS, (np.ones(len(hazard), dtype=bool), seen.ratio < NEAR), strict=True))
    rows: list[dict[str, Any]] = []
    for name, (score, unseen, expected) in scores.items():
        for book, mine in books.items():
            weight, market = seen.weight[mine], seen.market[mine]
            real = auc_by_cluster(score[mine], fresh[mine], weight, market, seed)
            mean = auc_by_cluster(unseen[mine], expected[mine], weight, market, seed)
            most = weighted_auc(score[mine], hazard[mine], weight) if mine.any() else float("nan")
            rows.append(
                {
                    "score": name, "book": book, **_area(real),
                    **{f"expected_{k}": v for k, v in _area(mean).items()},
                    "ceiling": _area(Area(most, most, most))["auc"] if name == "truth" else None,
                    "states": int(mine.sum()), "events": int(fresh[mine].sum()),
                }
            )  # fmt: skip
    intercept, slope = calibration_line(log_odds, hazard, seen.weight)
    outer = known.outer[:, default]
    return {
        "base_rate": _rounded(np.average(hazard, weights=seen.weight)),
        "below_1_8_share": _rounded(np.average(books["below_1_8"], weights=seen.weight)),
        "hazards": {
            o: _rounded(np.average(known.hazard[:, k], weights=seen.weight))
            for k, o in enumerate(OUTCOMES)
        },
        "rows": rows,
        "model": {
            "training_rows": model.rows, "training_defaults": model.defaults, "trees": model.trees,
            "calibration_slope": _rounded(slope), "calibration_intercept": _rounded(intercept),
            **{
                f"rank_correlation_{b}": _rounded(
                    rank_correlation(log_odds[m], hazard[m], seen.weight[m])
                )
                for b, m in books.items()
            },
        },
        "truth_check": {
            "mean_hazard": _rounded(hazard.mean()),
            "fresh_rate": _rounded(fresh.mean()),
            "outer_rate": _rounded(outer.mean()),
            "z_fresh": _rounded(clustered_z(fresh - hazard, seen.market)),
            "z_outer": _rounded(clustered_z(outer - hazard, seen.market)),
        },
    }  # fmt: skip


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _area(area: Area) -> dict[str, float | None]:
    """An AUC and its interval; None where there is no pair to compare."""
    found = {"auc": area.value, "low": area.low, "high": area.high}
    return {k: None if np.isnan(v) else _rounded(v) for k, v in found.items()}


def _source(folder: Path | None) -> tuple[PricePanel, tuple[str, ...]]:
    """The market to draw from, by default the bundled sample, and the flags of its folder."""
    if folder is not None:
        return load_panel(folder), lake_info(folder).flags
    with tempfile.TemporaryDirectory() as made:
        write_sample_market(Path(made) / "market")
        return load_panel(Path(made) / "market"), lake_info(Path(made) / "market").flags


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench truth``."""
    sizes = Sizes(
        arguments.markets, arguments.states, arguments.paths, arguments.clients or CLIENTS
    )
    source, flags = _source(arguments.source)
    behaviours = BEHAVIOURS if arguments.behaviour is None else (arguments.behaviour,)
    document = truth(source, sizes, behaviours, arguments.seed, arguments.threads, stages)
    document["flags"] = list(flags)
    return 0, document, _text(document)


def _text(document: dict[str, Any]) -> str:
    lines = [
        f"{document['states']:,} states of {document['market_years']:g} market years, {document['paths']}"
        f" paths of {document['horizon']} sessions each, {document['seconds']:g} s"
    ]
    for strength in document["strengths"]:
        model = strength["model"]
        lines.append(
            f"behaviour {strength['behaviour']:g}: {strength['base_rate']:.2%} default within"
            f" {document['horizon']} sessions; model: calibration slope"
            f" {model['calibration_slope']:.2f}, rank correlation with the truth"
            f" {model['rank_correlation_all']:.2f}, below 1.8 {model['rank_correlation_below_1_8']:.2f}"
        )
        lines.append(
            f"  {'score':<18}{'book':<11}{'AUC':>7}{'low':>7}{'high':>7}{'expected':>10}{'events':>8}"
        )
        for row in strength["rows"]:
            areas = [row["auc"], row["low"], row["high"], row["expected_auc"]]
            a, b, c, d = ("-" if x is None else f"{x:.3f}" for x in areas)
            lines.append(
                f"  {row['score']:<18}{row['book']:<11}{a:>7}{b:>7}{c:>7}{d:>10}{row['events']:>8}"
            )
    if document["flags"]:
        lines.append(
            f"drawn from a market that is {', '.join(document['flags'])}: quote no level of default"
        )
    return "\n".join(lines)
