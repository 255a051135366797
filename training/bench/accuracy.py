"""``bench accuracy``: glass boxes and black boxes on public credit sets, five folds each.

Every method has the same processor seconds on a set for its five folds, and one thread, so a busy
machine takes nothing from any; large sets are cut to a size at which that is enough, and the cut is
named. A method that runs out of them is stopped after the fold in hand and its row says how many
folds it finished. Folds keep twins together; every method sees the same ones. ``--resume FILE``
keeps finished folds, so that a long run can be made in pieces.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from training.bench.credit_sets import SETS, CreditSet, load_set
from training.bench.folds_kept import FoldsKept
from training.bench.rivals import BLACK, GLASS, NEEDS, Method, Task
from training.estimator_bags import parts_of
from training.evaluate import auc
from training.recipe import RECIPE_VERSION

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]

FOLDS: Final = 5
MINUTES: Final = 10.0
ROWS_A_MINUTE: Final = 500
LEAST_ROWS: Final = 2000
OURS: Final = "ours_frozen"
METRICS: Final = ("auc", "ks", "brier", "log_loss", "ece")


def ks(score: FloatArray, label: IntArray) -> float:
    """Kolmogorov-Smirnov distance between the scores of both classes.

    >>> ks(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    1.0
    """
    at = np.unique(score)
    good, bad = np.sort(score[label == 0]), np.sort(score[label == 1])
    apart = np.searchsorted(good, at, "right") / len(good)
    apart = apart - np.searchsorted(bad, at, "right") / len(bad)
    return float(np.abs(apart).max())


def ece(probability: FloatArray, label: IntArray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal size: mean |predicted - realised|."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [len(p) * abs(probability[p].mean() - label[p].mean()) for p in parts]
    return float(sum(gaps) / len(order))


def measured(probability: FloatArray, label: IntArray) -> dict[str, float]:
    """All metrics of one fold."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return {
        "auc": auc(probability, label) or math.nan,
        "ks": ks(probability, label),
        "brier": float(np.mean((probability - label) ** 2)),
        "log_loss": float(-np.mean(label * np.log(p) + (1 - label) * np.log(1 - p))),
        "ece": ece(probability, label),
    }


def corrected_error(differences: FloatArray, test_share: float) -> float:
    """Standard error of a mean over folds that share training rows (Nadeau & Bengio 2003).

    The variance over folds is multiplied by 1/k + test/train instead of 1/k.
    """
    if len(differences) < 2:
        return math.nan
    scale = 1.0 / len(differences) + test_share / (1.0 - test_share)
    return float(math.sqrt(scale * differences.var(ddof=1)))


def _missing(name: str) -> str | None:
    """Why a method cannot run here; None if it can."""
    needed = NEEDS.get(name)
    if needed is None or importlib.util.find_spec(needed) is not None:
        return None
    return f"{needed} is not installed"


def run_method(
    one: CreditSet,
    name: str,
    method: Method,
    part: IntArray,
    seconds: float,
    seed: int,
    kept: FoldsKept,
) -> None:
    """Add the folds that are missing, until the processor seconds are used up.

    A fold in which the method failed carries the reason instead of metrics, and is the last.
    """
    for fold in range(len(kept.of(one.name, name)), FOLDS):
        done = kept.of(one.name, name)
        if sum(f["seconds"] for f in done) > seconds or any(f.get("reason") for f in done):
            return
        test = part == fold
        task = Task(
            train=one.features[~test].reset_index(drop=True),
            label=one.label[~test],
            clusters=one.clusters[~test],
            test=one.features[test].reset_index(drop=True),
            categories=one.categories,
            seed=seed + fold,
            seconds=seconds / FOLDS,
        )
        started = time.process_time()
        found: dict[str, Any]
        try:
            with warnings.catch_warnings(), threadpool_limits(limits=1):
                warnings.simplefilter("ignore")  # what rivals say about themselves
                probability = method(task)
            found = measured(np.asarray(probability, dtype=np.float64), one.label[test])
        except Exception as error:  # a rival's failure is a finding, not an end
            found = {"reason": f"{type(error).__name__}: {error}"[:200]}
        kept.add(one.name, name, {**found, "seconds": time.process_time() - started})


def _row(one: CreditSet, name: str, kept: FoldsKept, absent: str | None) -> Any:
    done = kept.of(one.name, name)
    folds = [f for f in done if not f.get("reason")]
    row: dict[str, Any] = {"set": one.name, "role": one.role, "model": name, "folds": len(folds)}
    for metric in METRICS:
        values = [f[metric] for f in folds]
        row[metric] = round(float(np.mean(values)), 5) if values else None
    error = corrected_error(np.array([f["auc"] for f in folds]), 1 / FOLDS)
    row["auc_se"] = None if math.isnan(error) else round(error, 5)
    row["seconds"] = round(sum(f["seconds"] for f in done), 2)
    row["reason"] = next((f["reason"] for f in done if f.get("reason")), absent)
    return row


def _paired(one: CreditSet, folds: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """AUC of ours less each other's, fold by fold."""
    pairs = []
    for name, theirs in folds.items():
        common = min(len(folds[OURS]), len(theirs))
        if name == OURS or common == 0:
            continue
        difference = np.array(
            [a["auc"] - b["auc"] for a, b in zip(folds[OURS][:common], theirs, strict=False)]
        )
        error = corrected_error(difference, 1 / FOLDS)
        pairs.append(
            {
                "set": one.name,
                "model": name,
                "auc_difference": round(float(difference.mean()), 5),
                "standard_error": None if math.isnan(error) else round(error, 5),
                "folds": common,
            }
        )
    return pairs


def _whole(row: dict[str, Any]) -> bool:
    """Whether a method finished all folds of a set."""
    return row["auc"] is not None and row["folds"] == FOLDS


def gaps(rows: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours less the best other glass box and less the best black box of each set."""
    found = []
    for name in dict.fromkeys(p["set"] for p in pairs):
        level = {r["model"]: r["auc"] for r in rows if r["set"] == name}
        mine = [
            p
            for p in pairs
            if p["set"] == name and not p["model"].startswith("ours") and p["folds"] == FOLDS
        ]
        for box, kind in (("glass", GLASS), ("black", BLACK)):
            among = [p for p in mine if p["model"] in kind]
            if among:
                best = max(among, key=lambda p: (level[p["model"]], p["model"]))
                found.append({"box": box, **best})
    return found


def mean_ranks(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Mean rank by AUC over the sets that count, 1 the best; ties share.

    Smoke sets are left out, and methods that did not finish all folds of a set: the mean over some
    folds is not comparable with that over all.
    """
    ranks: dict[str, list[float]] = {}
    for name in dict.fromkeys(r["set"] for r in rows if r["role"] != "smoke"):
        found = {r["model"]: r["auc"] for r in rows if r["set"] == name and _whole(r)}
        for model, value in found.items():
            better = sum(v > value for v in found.values())
            ties = sum(v == value for v in found.values())
            ranks.setdefault(model, []).append(better + (ties + 1) / 2)
    return {m: round(float(np.mean(r)), 3) for m, r in ranks.items()}


def _chosen(names: str | None) -> dict[str, Method]:
    """The methods to run: all, or those named."""
    methods: dict[str, Method] = {**GLASS, **BLACK}
    asked = list(methods) if names is None else [n.strip() for n in names.split(",")]
    for name in asked:
        if name not in methods:
            raise InputError(f"--methods names {name!r}; there are: {', '.join(methods)}")
    return {m: run for m, run in methods.items() if m in asked}


def accuracy(
    data: Path,
    minutes: float,
    seed: int,
    stages: Stages,
    *,
    most_rows: int | None = None,
    resume: Path | None = None,
    only: str | None = None,
) -> dict[str, Any]:
    """All methods, or those named, on all sets that the folder holds.

    Parameters
    ----------
    minutes : processor minutes of all methods on all sets, shared out evenly
    most_rows : rows a set is cut to; by default as many as the minutes allow
    resume : file that finished folds are kept in, and read from
    only : comma-separated methods to run; those kept from before are shown too
    """
    if minutes <= 0:
        raise InputError(f"--minutes is {minutes:g}; it must be more than 0")
    names = [n for n in SETS if (data / n).is_dir()]
    if not names:
        raise InputError(
            f"{data} holds none of the credit sets ({', '.join(SETS)}); name the folder that does"
        )
    methods: dict[str, Method] = {**GLASS, **BLACK}
    chosen = _chosen(only)
    absent = {m: why for m in methods if (why := _missing(m)) is not None}
    most = max(LEAST_ROWS, int(ROWS_A_MINUTE * minutes)) if most_rows is None else most_rows
    seconds = minutes * 60 / (len(names) * len(methods))
    kept = FoldsKept(
        resume,
        {
            "recipe_version": RECIPE_VERSION,
            "seed": seed,
            "most_rows": most,
            "seconds_a_set_and_model": round(seconds, 2),
        },
    )
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    cut: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        one = load_set(data, name, most)
        if len(one.label) < one.whole:
            cut.append({"set": name, "rows": len(one.label), "of": one.whole})
        part = parts_of(one.label, one.clusters, FOLDS, seed)
        by_method: dict[str, list[dict[str, Any]]] = {}
        for m, (method, run) in enumerate(methods.items()):
            stages("accuracy", k * len(methods) + m, len(names) * len(methods))
            if method in chosen and method not in absent:
                run_method(one, method, run, part, seconds, seed, kept)
            by_method[method] = [f for f in kept.of(name, method) if not f.get("reason")]
            rows.append(_row(one, method, kept, absent.get(method)))
        pairs += _paired(one, by_method)
    stages("accuracy", len(names) * len(methods), len(names) * len(methods))
    return {
        "recipe_version": RECIPE_VERSION,
        "folds": FOLDS,
        "seconds_a_set_and_model": round(seconds, 2),
        "sets": rows,
        "mean_rank": mean_ranks([r for r in rows if r["model"] in GLASS]),
        "mean_rank_all": mean_ranks(rows),
        "paired": pairs,
        "gaps": gaps(rows, pairs),
        "cut": cut,
    }


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench accuracy``."""
    if arguments.data is None:
        raise InputError("bench accuracy needs --data DIR, a folder with one sub-folder a set")
    minutes = MINUTES if arguments.minutes is None else arguments.minutes
    document = accuracy(
        arguments.data,
        minutes,
        arguments.seed,
        stages,
        most_rows=arguments.rows,
        resume=arguments.resume,
        only=arguments.methods,
    )
    lines = [f"{'set':<18}{'model':<13}{'AUC':>8}{'+-':>8}{'log-loss':>10}{'s':>8}"]
    for r in document["sets"]:
        numbers = [r["auc"], r["auc_se"], r["log_loss"]]
        text = ["-" if x is None else f"{x:.4f}" for x in numbers]
        lines.append(
            f"{r['set']:<18}{r['model']:<13}{text[0]:>8}{text[1]:>8}{text[2]:>10}{r['seconds']:>8.1f}"
            + (f"  {r['reason']}" if r["reason"] else "")
        )
    ranked = sorted(document["mean_rank"].items(), key=lambda item: item[1])
    for gap in document["gaps"]:
        error = gap["standard_error"]
        lines.append(
            f"{gap['set']:<18}ours less the best {gap['box']} box, {gap['model']}:"
            f" {gap['auc_difference']:+.4f} ± {'-' if error is None else f'{error:.4f}'}"
        )
    lines.append("mean rank: " + ", ".join(f"{m} {rank:g}" for m, rank in ranked))
    return 0, document, "\n".join(lines)
