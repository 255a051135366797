"""``gearline fit``: any labelled CSV or Parquet to a bundle of tables, proved and calibrated."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from data_contracts.errors import InputError
from data_contracts.lake import check_output_folder
from data_contracts.units import IntArray
from models.scorer import Reference
from models.scorer.tables import monotone_violations
from training.estimator import AdditiveBoosterClassifier
from training.estimator_bags import clusters_of, parts_of
from training.estimator_tune import log_fit, tune
from training.evaluate import auc
from training.pictures.shapes import bands_of
from training.recipe import FROZEN, RECIPE_VERSION
from training.table_bundle import TableBundle
from training.table_encode import level_of
from training.table_probability import fit_probability
from training.table_read import is_number, numbers, objects, read_any

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]

LEAST_OF_A_CLASS: Final = 30
MOST_LEVELS: Final = 255
CALIBRATION_PARTS: Final = 5
"""One part in five calibrates and teaches nothing."""
PROOF_ROWS: Final = 2000
PROOF_TOLERANCE: Final = 1e-9


def _pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """``NAME:VALUE`` arguments as a dictionary; a name may hold colons."""
    found = {}
    for text in texts or ():
        name, colon, value = text.rpartition(":")
        if not colon or not name or not value:
            raise InputError(f"{option} {text!r} is not NAME:VALUE")
        if name in found:
            raise InputError(f"{option} names {name!r} twice")
        found[name] = value
    return found


def monotone_of(text: str | None) -> dict[str, int]:
    """Directions from ``income:-,debt:+``.

    >>> monotone_of("income:-,debt:+")
    {'income': -1, 'debt': 1}
    """
    signs = {"+": 1, "-": -1, "+1": 1, "-1": -1}
    found = _pairs(text.split(",") if text else (), "--monotone")
    for name, sign in found.items():
        if sign not in signs:
            raise InputError(f"--monotone gives {name!r} the direction {sign!r}; write + or -")
    return {name: signs[sign] for name, sign in found.items()}


def special_of(texts: Sequence[str] | None) -> dict[str, tuple[float, ...]]:
    """Codes from ``late:96,98``, one text a feature.

    >>> special_of(["late:96,98"])
    {'late': (96.0, 98.0)}
    """
    found = {}
    for name, codes in _pairs(texts, "--special").items():
        try:
            found[name] = tuple(float(c) for c in codes.split(","))
        except ValueError:
            raise InputError(
                f"--special gives {name!r} {codes!r}; write numbers, as -7,-8"
            ) from None
    return found


def labels_of(
    table: pa.Table, target: str, positive: str | None, path: Path
) -> tuple[IntArray, str]:
    """0 and 1 by row, and which value is 1.

    Raises
    ------
    InputError
        If there is no such column, a row has no value, or there are not two classes.
    """
    if target not in table.column_names:
        raise InputError(f"{path} has no column {target!r} for --target")
    levels = [level_of(v) for v in objects(table, target)]
    if None in levels:
        raise InputError(f"{levels.count(None)} rows of target {target!r} are empty; remove them")
    found = sorted({v for v in levels if v is not None})
    if len(found) != 2:
        shown = ", ".join(map(repr, found[:4])) + (" and more" if len(found) > 4 else "")
        classes = "class" if len(found) == 1 else "classes"
        raise InputError(f"target {target!r} has {len(found)} {classes} ({shown}); two are needed")
    if positive is None:
        if found != ["0", "1"]:
            raise InputError(
                f"target {target!r} holds {found[0]!r} and {found[1]!r}; say with --positive which"
                " one is the event"
            )
        positive = "1"
    if positive not in found:
        raise InputError(
            f"--positive is {positive!r}; target {target!r} holds {' and '.join(found)}"
        )
    return np.array([v == positive for v in levels], dtype=np.int64), positive


@dataclass(frozen=True)
class Labelled:
    """A table ready to fit: features, categories among them, labels and groups."""

    frame: pd.DataFrame
    categories: tuple[str, ...]
    labels: IntArray
    positive: str
    groups: Any | None


def _listed(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []


def prepare(table: pa.Table, arguments: argparse.Namespace) -> Labelled:
    """Split a table into features, labels and groups; text columns are categories."""
    path = arguments.table
    labels, positive = labels_of(table, arguments.target, arguments.positive, path)
    asked, dropped = _listed(arguments.categorical), _listed(arguments.drop)
    aside = [("--categorical", n) for n in asked] + [("--drop", n) for n in dropped]
    aside += [("--group", arguments.group)] if arguments.group else []
    for option, name in aside:
        if name not in table.column_names:
            raise InputError(f"{path} has no column {name!r} for {option}")
        if name == arguments.target:
            raise InputError(f"{option} names the target {name!r}")
    least = min(int(labels.sum()), int((1 - labels).sum()))
    if least < LEAST_OF_A_CLASS:
        raise InputError(
            f"the rarer class of target {arguments.target!r} has {least} rows; at least"
            f" {LEAST_OF_A_CLASS} are needed"
        )
    columns: dict[str, Any] = {}
    categories = []
    for name in table.column_names:
        if name in (arguments.target, arguments.group, *dropped):
            continue
        kind = table.schema.field(name).type
        if name not in asked and is_number(kind):
            columns[name] = numbers(table, name)
            continue
        if pa.types.is_temporal(kind):
            raise InputError(
                f"column {name!r} holds dates or times; turn them into a number, or leave the"
                f" column out with --drop {name}"
            )
        values = objects(table, name)
        count = len({level_of(v) for v in values})
        if count > MOST_LEVELS:
            raise InputError(
                f"column {name!r} has {count} different texts, more than {MOST_LEVELS}: a name or"
                f" an identifier? leave it out with --drop {name}"
            )
        columns[name] = pd.Series(values, dtype=object)
        categories.append(name)
    if not columns:
        raise InputError(f"{path} has no column left to learn from")
    groups = (
        None if not arguments.group else np.array([str(g) for g in objects(table, arguments.group)])
    )
    return Labelled(pd.DataFrame(columns), tuple(categories), labels, positive, groups)


def prove(model: AdditiveBoosterClassifier, rows: pd.DataFrame) -> float:
    """Largest difference of the tables' path-dependent values to the boosters' own.

    Raises
    ------
    InputError
        If it is more than rounding, or a direction does not hold on the tables.
    """
    columns = model.encoded(rows)
    own = np.mean(
        [
            b.predict(columns, pred_contrib=True, num_iteration=model.n_iter_, num_threads=1)
            for b in model.bagged_.boosters
        ],
        axis=0,
    )
    difference = float(np.abs(own - model.compiled_.path_dependent(columns)).max())
    if difference > PROOF_TOLERANCE:
        raise InputError(f"the tables differ from the boosters by {difference:.3g}; not written")
    witnesses = monotone_violations(model.tables_.tables, model.encoder_.directions)
    if witnesses:
        raise InputError(f"the tables are not monotone: {witnesses[0]}; not written")
    return difference


def _parts(data: Labelled, seed: int) -> Any:
    codes = [
        pd.factorize(data.frame[c])[0].astype(np.float64) if c in data.categories else data.frame[c]
        for c in data.frame
    ]
    clusters = clusters_of(np.column_stack(codes), data.groups)
    return parts_of(data.labels, clusters, CALIBRATION_PARTS, seed)


def run_fit(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``fit``."""
    started = time.perf_counter()
    check_output_folder(arguments.out, "bundle.json", "`gearline fit`")
    monotone, special = monotone_of(arguments.monotone), special_of(arguments.special)
    data = prepare(read_any(arguments.table), arguments)
    for option, names in (("--monotone", monotone), ("--special", special)):
        for name in names:
            if name not in data.frame:
                raise InputError(f"{option} names {name!r}, which is no feature of the table")
    held = _parts(data, arguments.seed) == 0
    model = AdditiveBoosterClassifier(
        monotone=monotone,
        special=special,
        categorical=data.categories,
        random_state=arguments.seed,
        n_jobs=arguments.threads or 1,
    )
    learn, labels = data.frame[~held], data.labels[~held]
    groups = None if data.groups is None else data.groups[~held]
    stages("fit", 0, 1)
    if arguments.tune:
        model = tune(
            model, learn, labels, groups=groups, trials=arguments.tune, seed=arguments.seed
        ).model
    else:
        model.fit(learn, labels, groups=groups)
    stages("fit", 1, 1)
    difference = prove(model, data.frame[held][:PROOF_ROWS])
    score = model.tables_score(data.frame[held])
    calibration = fit_probability(score, data.labels[held], arguments.seed)
    codes = model.tables_.front.encode(model.reference_)
    reference = Reference.of(model.tables_.tables.effects, codes)
    report = {
        "rows": len(data.labels),
        "positives": int(data.labels.sum()),
        "positive": data.positive,
        "features": data.frame.shape[1],
        "categories": list(data.categories),
        "effects": len(model.effects_),
        "pairs": sum(len(e) == 2 for e in model.effects_),
        "bags": len(model.bagged_.boosters),
        "rounds": model.n_iter_,
        "recipe": f"frozen {RECIPE_VERSION}" if model.recipe_ == FROZEN else "tuned",
        "calibration_rows": int(held.sum()),
        "calibration_method": calibration.method,
    }
    fitted = {
        **report,
        "target": arguments.target,
        "seed": arguments.seed,
        "settings": {k: str(v) for k, v in model.recipe_.as_dict().items()},
    }
    bundle = TableBundle(
        model.encoder_,
        model.tables_,
        calibration,
        reference.to_json(),
        fitted,
        bands_of(model.bags_tables(), model.tables_, reference),
    )
    bundle.write(arguments.out)
    document = {
        **report,
        "log_loss_by_calibration": {m: round(v, 6) for m, v in calibration.log_loss.items()},
        "auc_calibration_rows": round(auc(score, data.labels[held]) or 0.0, 6),
        "max_abs_difference_to_pred_contrib": difference,
        "bundle_sha256": bundle.sha256,
        "out": str(arguments.out),
        "seconds": round(time.perf_counter() - started, 2),
    }
    if arguments.mlflow is not None:
        document["mlflow_run"] = log_fit(arguments.mlflow, arguments.out, bundle.sha256, model)
    text = (
        f"{len(data.labels):,} rows, {report['positives']:,} of {data.positive!r}:"
        f" {report['effects']} terms ({report['pairs']} pairs), {report['bags']} bags of {report['rounds']} rounds\n"
        f"AUC {document['auc_calibration_rows']:.4f} on {int(held.sum()):,} rows that taught"
        f" nothing; calibration: {calibration.method}\nbundle written to {arguments.out}"
    )
    return 0, document, text
