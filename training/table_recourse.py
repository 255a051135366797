"""Exact recourse: the fewest features to change, and the least steps, for a probability below a line.

A fitted table's score is a sum of terms of one or two features, so over the mutable ones it is

    score(v) = score(x) + sum_i U_i(v_i) + sum_ij P_ij(v_i, v_j)

in integers, whatever the terms with the other features are. Branch and bound over the values that
the reference population has (one a bin) finds the change of fewest features, and among those of
fewest bins passed. The certificate is the least score that one feature fewer can reach: it lies
above the line. Where the search would be too long the answer is ``not searched``, never a guess.

It answers what the model would say, not what a person can do: values move one by one, and nothing
says that a cause is changed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, FloatArray, IntArray
from training.table_bundle import TableBundle
from training.table_encode import number_text
from training.table_lost import attained_values
from training.table_read import matrix, read_any

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]

MOST_MUTABLE: Final = 10
MOST_NODES: Final = 200_000
MOST_LOG_ODDS: Final = 600
"""A probability nearer to 0 or 1 than this says is no number of double precision."""
_FAR: Final = np.iinfo(np.int64).max // 4
Status = Literal["already", "found", "none", "not searched"]


@dataclass(frozen=True)
class Recourse:
    """What would bring a row to the line or below.

    Attributes
    ----------
    status : ``already`` there, ``found``, ``none`` exists, or ``not searched`` to the end
    changes : feature positions and their new values, as the encoder reads them
    steps : bins passed by all changes together
    score : of the changed row; of the row as it is where nothing is changed
    least_with_fewer : the certificate: the least score that one change fewer can reach
    nodes : partial assignments looked at
    """

    status: Status
    changes: tuple[tuple[int, float], ...]
    steps: int
    score: int
    least_with_fewer: int | None
    nodes: int


class _TooLongError(Exception):
    """More nodes than are allowed."""


@dataclass
class _Game:
    """The score over the mutable features, as tables; the first value of each is its own."""

    start: int
    alone: list[IntArray]
    both: dict[tuple[int, int], IntArray]
    steps: list[IntArray]
    nodes: int = 0
    _least_both: dict[tuple[int, int], int] = field(default_factory=dict)

    def pair(self, i: int, j: int) -> IntArray:
        """P_ij with i's values first."""
        return self.both[i, j] if i < j else self.both[j, i].T

    def least_pair(self, i: int, j: int) -> int:
        """The least of P_ij over changed values."""
        key = (min(i, j), max(i, j))
        if key not in self._least_both:
            self._least_both[key] = int(self.both[key][1:, 1:].min())
        return self._least_both[key]

    def rest(self, chosen: Sequence[int]) -> int:
        """A bound of what features not yet assigned can add, pairs among them included."""
        alone = sum(int(self.alone[i][1:].min()) for i in chosen)
        pairs = itertools.combinations(chosen, 2)
        return alone + sum(self.least_pair(i, j) for i, j in pairs)

    def search(
        self, chosen: Sequence[int], line: int | None, most_steps: int
    ) -> tuple[int, int, tuple[int, ...]] | None:
        """Over changes of exactly these features: with a line the fewest steps, else the least score.

        Returns steps, score and which value of each; None if nothing is better than ``most_steps``.
        """
        best: list[tuple[int, int, tuple[int, ...]]] = []

        def bound() -> tuple[int, int]:
            if not best:
                return most_steps, _FAR
            return best[0][0], best[0][1]

        def visit(depth: int, score: int, steps: int, at: tuple[int, ...]) -> None:
            self.nodes += 1
            if self.nodes > MOST_NODES:
                raise _TooLongError
            if depth == len(chosen):
                best[:] = [(steps, score, at)]
                return
            i, later = chosen[depth], chosen[depth + 1 :]
            now = score + self.alone[i].copy()
            for a, v in zip(chosen[:depth], at, strict=True):
                now += self.pair(a, i)[v]
            floor = now + self.rest(later)
            for j in later:
                floor += self.pair(i, j)[:, 1:].min(axis=1)
                for a, v in zip(chosen[:depth], at, strict=True):
                    floor += int(self.pair(a, j)[v, 1:].min())
            order = self.steps[i] if line is not None else floor
            for v in (1 + np.argsort(order[1:], kind="stable")).tolist():
                fewest, least = bound()
                total = steps + int(self.steps[i][v])
                if line is None:
                    if floor[v] >= least:
                        break
                elif total + len(later) >= fewest:
                    break
                elif floor[v] > line:
                    continue
                visit(depth + 1, int(now[v]), total, (*at, v))

        if all(len(self.alone[i]) > 1 for i in chosen):
            visit(0, self.start, 0, ())
        return best[0] if best else None


def _game(
    bundle: TableBundle, row: FloatArray, mutable: Sequence[int], candidates: list[FloatArray]
) -> tuple[_Game, list[FloatArray]]:
    """Tables of one row: every value of each feature, and of each two, scored exactly."""
    values, steps = [], []
    for f in mutable:
        other = np.sort(candidates[f][candidates[f] != row[f]])
        values.append(np.append(row[f], other))
        order = np.arange(len(other), dtype=np.int64)
        place = int(np.searchsorted(other, row[f])) if not np.isnan(row[f]) else 0
        away = np.where(order < place, place - order, order - place + 1)
        if bundle.encoder.features[f].levels is not None:
            away = np.ones_like(order)  # levels have no order
        steps.append(np.append(0, away))

    def scored(rows: FloatArray) -> IntArray:
        return bundle.tables.score(bundle.encoder.encode(rows))

    start = int(scored(row[None])[0])
    alone = []
    for f, v in zip(mutable, values, strict=True):
        rows = np.tile(row, (len(v), 1))
        rows[:, f] = v
        alone.append(scored(rows) - start)
    both = {}
    for i, j in itertools.combinations(range(len(mutable)), 2):
        n, m = len(values[i]), len(values[j])
        rows = np.tile(row, (n * m, 1))
        rows[:, mutable[i]] = np.repeat(values[i], m)
        rows[:, mutable[j]] = np.tile(values[j], n)
        together = scored(rows).reshape(n, m) - start
        both[i, j] = together - alone[i][:, None] - alone[j][None, :]
    return _Game(start, alone, both, steps), values


def recourse(bundle: TableBundle, row: FloatArray, mutable: Sequence[int], line: int) -> Recourse:
    """The change of fewest features, then of fewest steps, that brings the score to the line.

    Parameters
    ----------
    row : features as the encoder reads them, float (features,)
    mutable : positions of the features that may change, at most ``MOST_MUTABLE``
    line : greatest score that is good enough, 2**-40 log-odds
    """
    if not 0 < len(mutable) <= MOST_MUTABLE or len(set(mutable)) < len(mutable):
        raise InputError(
            f"recourse changes 1 to {MOST_MUTABLE} different features, not {len(mutable)};"
            " name those that a client can change"
        )
    game, values = _game(bundle, row, mutable, attained_values(bundle))
    if game.start <= line:
        return Recourse("already", (), 0, game.start, None, 0)
    fewer = game.start
    try:
        for count in range(1, len(mutable) + 1):
            found: tuple[int, int, tuple[int, ...]] | None = None
            chosen: tuple[int, ...] = ()
            for subset in itertools.combinations(range(len(mutable)), count):
                better = game.search(subset, line, found[0] if found else _FAR)
                if better is not None:
                    found, chosen = better, subset
            if found is not None:
                steps, score, at = found
                changes = tuple(
                    (mutable[i], float(values[i][v])) for i, v in zip(chosen, at, strict=True)
                )
                return Recourse("found", changes, steps, score, fewer, game.nodes)
            for subset in itertools.combinations(range(len(mutable)), count):
                least = game.search(subset, None, _FAR)
                if least is not None:
                    fewer = min(fewer, least[1])
    except _TooLongError:
        return Recourse("not searched", (), 0, game.start, None, game.nodes)
    return Recourse("none", (), 0, game.start, fewer, game.nodes)


def as_document(bundle: TableBundle, row: FloatArray, found: Recourse) -> dict[str, Any]:
    """The answer in the table's own terms."""
    features = bundle.encoder.features

    def shown(f: int, value: float) -> str | None:
        levels = features[f].levels
        if np.isnan(value):
            return None
        return number_text(value) if levels is None else levels[int(value)]

    probability = bundle.calibration.probability
    before = bundle.tables.score(bundle.encoder.encode(row[None]))
    return {
        "status": found.status,
        "changes": [
            {"feature": features[f].name, "from": shown(f, float(row[f])), "to": shown(f, v)}
            for f, v in found.changes
        ],
        "steps": found.steps,
        "probability": round(float(probability(before)[0]), 6),
        "probability_after": round(float(probability(np.array([found.score]))[0]), 6),
        "probability_with_fewer": None
        if found.least_with_fewer is None
        else round(float(probability(np.array([found.least_with_fewer]))[0]), 6),
        "nodes": found.nodes,
    }


def line_of(bundle: TableBundle, below: float) -> int:
    """The greatest score whose calibrated probability is at most ``below``."""
    if not 0.0 < below < 1.0:
        raise InputError(f"--below is {below:g}; it is a probability between 0 and 1")
    low, high = -MOST_LOG_ODDS * LOG_ODDS_ONE, MOST_LOG_ODDS * LOG_ODDS_ONE
    while high - low > 1:
        middle = (low + high) // 2
        at_most = float(bundle.calibration.probability(np.array([middle]))[0]) <= below
        low, high = (middle, high) if at_most else (low, middle)
    return low


def run_recourse(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``recourse``."""
    bundle = TableBundle.read(arguments.bundle)
    values = matrix(read_any(arguments.table), bundle.encoder, arguments.table)
    if not 0 <= arguments.row < len(values):
        raise InputError(
            f"--row is {arguments.row}; {arguments.table} has rows 0 to {len(values) - 1}"
        )
    names = [f.name for f in bundle.encoder.features]
    asked = [n.strip() for n in arguments.mutable.split(",")]
    for name in asked:
        if name not in names:
            raise InputError(f"--mutable names {name!r}, which is no feature of the bundle")
    row = values[arguments.row]
    line = line_of(bundle, arguments.below)
    stages("recourse", 0, 1)
    found = recourse(bundle, row, [names.index(n) for n in asked], line)
    stages("recourse", 1, 1)
    document = as_document(bundle, row, found)
    said = {
        "already": "nothing needs to change",
        "none": "no values of these features that the reference population has are enough",
        "not searched": f"not searched to the end within {MOST_NODES:,} steps; name fewer features",
        "found": "; ".join(
            f"{c['feature']}: {c['from']} -> {c['to']}" for c in document["changes"]
        ),
    }[found.status]
    text = (
        f"probability {document['probability']:.4f}, asked at most {arguments.below:g}: {said}"
        + (f" gives {document['probability_after']:.4f}" if found.status == "found" else "")
    )
    return (0 if found.status in ("already", "found") else 1), document, text
