"""Material from any labelled table: the scorer is fitted on a part and validated on another."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, FloatArray, IntArray
from training.calibrate import TIER_SHARES
from training.estimator import AdditiveBoosterClassifier
from training.estimator_bags import clusters_of, parts_of
from training.report.texts import Text, same
from training.table_fit import Labelled, monotone_of, prepare, special_of
from training.table_probability import fit_probability
from training.table_read import matrix, objects, read_any
from training.validation.challengers import benchmarks
from training.validation.material import Cases, Feature, Material

PARTS: Final = 5
"""Fifths of the rows: one validates, one calibrates and is the initial sample, three teach."""
LEAST_VALIDATION: Final = 20
Stages = Callable[[str, int, int], None]


def _parts(data: Labelled, seed: int) -> tuple[IntArray, IntArray]:
    codes = [
        pd.factorize(data.frame[c])[0].astype(np.float64) if c in data.categories else data.frame[c]
        for c in data.frame
    ]
    clusters = clusters_of(np.column_stack(codes), data.groups)
    return parts_of(data.labels, clusters, PARTS, seed), np.asarray(clusters)


def _grade_edges(probability: FloatArray) -> FloatArray:
    """Ascending edges that give the sample the declared shares of the tiers; equal ones merged."""
    return np.unique(np.quantile(probability, TIER_SHARES))


def material_of_table(arguments: argparse.Namespace, stages: Stages) -> Material:
    """Read a table, fit on three fifths, calibrate on a fifth, gather what validates the fit."""
    path: Path = arguments.table
    raw = read_any(path)
    protected_names = [n.strip() for n in (arguments.protected or "").split(",") if n.strip()]
    for name in protected_names:
        if name not in raw.column_names:
            raise InputError(f"{path} has no column {name!r} for --protected")
    dropped = [n for n in (arguments.drop or "").split(",") if n]
    inner = argparse.Namespace(**vars(arguments))
    inner.drop = ",".join(dict.fromkeys([*dropped, *protected_names])) or None
    data = prepare(raw, inner)
    monotone, special = monotone_of(arguments.monotone), special_of(arguments.special)
    parts, clusters = _parts(data, arguments.seed)
    test, held, learn = parts == 0, parts == 1, parts > 1
    if min(int(data.labels[test].sum()), int((1 - data.labels[test]).sum())) < LEAST_VALIDATION:
        raise InputError(
            f"{path}: the fifth that validates has fewer than {LEAST_VALIDATION} rows of an outcome;"
            " a report on so few says nothing: bring more rows"
        )
    stages("fit", 0, 3)
    model = AdditiveBoosterClassifier(
        monotone=monotone, special=special, categorical=data.categories,
        random_state=arguments.seed, n_jobs=arguments.threads or 1,
    )  # fmt: skip
    model.fit(
        data.frame[learn], data.labels[learn],
        groups=None if data.groups is None else data.groups[learn],
    )  # fmt: skip
    stages("fit", 1, 3)
    encoder, tables = model.encoder_, model.tables_
    values = matrix(raw, encoder, path)
    calibration = fit_probability(
        tables.score(encoder.encode(values[held])), data.labels[held], arguments.seed
    )

    def rescore(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        score = tables.score(encoder.encode(x))
        return score / LOG_ODDS_ONE, calibration.probability(score)

    def explain(x: FloatArray) -> tuple[FloatArray, float, FloatArray]:
        score, phi = tables.score_and_attributions(encoder.encode(x))
        return (
            score / LOG_ODDS_ONE,
            tables.base_attribution / LOG_ODDS_ONE,
            encoder.by_feature(phi) / LOG_ODDS_ONE,
        )

    score, probability = rescore(values)
    edges = _grade_edges(probability[held])
    grade = 1 + np.searchsorted(edges, probability, side="left")
    features = tuple(
        Feature(
            f.name,
            same(f.name),
            f.direction,
            f.levels is not None,
            tuple("missing" if level is None else level for level in f.levels or ()),
        )
        for f in encoder.features
    )
    every = Cases(score, probability, data.labels, grade.astype(np.int64), values, None, clusters)
    others = benchmarks(
        features, (values[learn], data.labels[learn]), (values[held], data.labels[held]),
        values[test], arguments.seed,
    )  # fmt: skip
    stages("fit", 3, 3)
    sample = every.take(test)
    protected = {
        name: np.array([str(v) for v in objects(raw, name)], dtype=object)[test]
        for name in protected_names
    }
    files = {
        "features": encoder.to_json(), "tables": tables.to_json(), "calibration": calibration.to_json()
    }  # fmt: skip
    no_time = Text("the table has no column of time", "表中没有时间列")
    return Material(
        subject={
            "name": Text(f"Additive booster fitted on {path.name}", f"在 {path.name} 上拟合的可加提升模型"),
            "purpose": Text("credit scoring of natural persons: tier, limit and price", "自然人信用评分：等级、额度与价格"),
            "target": same(f"{arguments.target} = {data.positive}"),
            "kind": Text("gradient boosting under pairwise constraints, compiled into tables", "成对约束的梯度提升，编译为查找表"),
            "owner": Text("model owner (development)", "模型负责人（开发）"),
            "exposure": Text("not in these data", "数据中没有"),
            "materiality": Text("to be set by the lender: exposure is not known here", "由机构设定：此处敞口未知"),
            "upstream": Text(f"{len(features)} columns of {path.name}", f"{path.name} 的 {len(features)} 列"),
            "downstream": Text("tiers, limits and rates", "等级、额度与利率"),
            "model_sha256": sha256_hex(canonical_bytes(files)),
            "data_sha256": sha256_hex(path.read_bytes()),
            "directions": encoder.directions,
            "explain": explain,
            "limitations": (
                Text("One fit on one table, split by rows (whole groups together), not by time: figures say nothing about drift after the table was drawn.", "在单一表上一次拟合，按行（整组）切分而非按时间：不说明取数之后的变化。"),
            ),
        },
        features=features,
        grades=len(edges) + 1,
        development=every.take(learn),
        validation=sample,
        initial=every.take(held),
        benchmarks=others,
        tables=tables,
        rescore=rescore,
        protected=protected,
        prices=None,
        overrides=None,
        migrations=None,
        served=None,
        split=Text(
            f"By rows: {int(learn.sum()):,} teach, {int(held.sum()):,} calibrate (and are the initial sample), {int(test.sum()):,} validate. Equal rows and rows of one group stay together. Seed {arguments.seed}.",
            f"按行切分：{int(learn.sum()):,} 行训练，{int(held.sum()):,} 行校准（亦为初始样本），{int(test.sum()):,} 行验证。相同行与同组行不拆分。种子 {arguments.seed}。",
        ),
        as_of=arguments.on,
        seed=arguments.seed,
        absent={
            "regimes": no_time,
            "migrations": no_time,
            "fairness": Text("no column was named with --protected", "未用 --protected 指定列"),
        },
    )  # fmt: skip
