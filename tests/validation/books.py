"""Books whose truth is known: a table of scores that is right by construction, and planted faults."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_contracts.units import LOG_ODDS_ONE
from models.scorer import AdditiveTables
from models.scorer.tables import explained_effect
from training.report.texts import Text, same
from training.validation.challengers import benchmarks
from training.validation.material import Cases, Feature, Material, Overrides

FEATURES = 6
LEVELS = 10
SIZES = (3000, 1500, 3000)
SLOPES = (0.28, -0.22, 0.16, 0.10, -0.06, 0.0)
DIRECTIONS = (1, -1, 1, 1, -1, 0)
EDGES = np.array([0.03, 0.06, 0.10, 0.16, 0.25, 0.40])


def tables():
    """One table a feature, linear in its ten levels; the last feature tells nothing."""
    effects = []
    for f, slope in enumerate(SLOPES):
        at = np.r_[0.0, slope * (np.arange(LEVELS) - 4.5)]
        cells = np.rint(at * LOG_ODDS_ONE).astype(np.int64)
        counts = np.ones(LEVELS + 1, dtype=np.int64)
        effects.append(explained_effect((f,), (np.arange(LEVELS - 1),), cells, counts))
    return AdditiveTables("truth", FEATURES, round(-2.4 * LOG_ODDS_ONE), tuple(effects))


def probability_of(score):
    return 1 / (1 + np.exp(-score / LOG_ODDS_ONE))


def cases(rng, size, model, shift=0.0, segment=0.0):
    """Cases of the truth: ``shift`` adds to the true log-odds only, ``segment`` where x0 >= 8."""
    x = rng.integers(0, LEVELS, (size, FEATURES))
    score = model.score(x)
    true = score / LOG_ODDS_ONE + shift + segment * (x[:, 0] >= 8)
    y = (rng.random(size) < 1 / (1 + np.exp(-true))).astype(np.int64)
    p = probability_of(score)
    grade = 1 + np.searchsorted(EDGES, p, side="left")
    return Cases(score / LOG_ODDS_ONE, p, y, grade, x.astype(np.float64))


def overrides(rng, bias=0.0, acts=300, decisions=6000):
    """Acts on decisions; ``bias`` favours one segment."""
    segment = rng.integers(0, 2, acts)
    side = np.where(rng.random(acts) < 0.5 + bias * (segment - 0.5), 1, -1)
    p = rng.uniform(0.02, 0.3, acts)
    return Overrides(
        tuple(f"r{k}" for k in rng.integers(0, 4, acts)),
        tuple(np.array(["new facts", "relationship"])[rng.integers(0, 2, acts)]),
        side,
        (rng.random(acts) < p).astype(np.int64),
        p,
        tuple("AB"[k] for k in segment),
        decisions,
    )


def book(seed, fault=None):
    """A book's material. ``fault``: calibration, leak, flip, segment, overrides, table."""
    rng = np.random.default_rng([seed, 77])
    model = tables()
    development, initial = (cases(rng, n, model) for n in SIZES[:2])
    shift = np.log(1.6) if fault == "calibration" else 0.0
    segment = np.log(3.5) if fault == "segment" else 0.0
    validation = cases(rng, SIZES[2], model, shift, segment)
    served = model

    def rescore(x):
        score = served.score(np.rint(x).astype(np.int64).clip(0, LEVELS - 1))
        return score / LOG_ODDS_ONE, probability_of(score)

    def explain(x):
        score, phi = served.score_and_attributions(np.rint(x).astype(np.int64).clip(0, LEVELS - 1))
        return score / LOG_ODDS_ONE, served.base_attribution / LOG_ODDS_ONE, phi / LOG_ODDS_ONE

    if fault == "flip":  # fed with the wrong sign after development
        x = validation.features.copy()
        x[:, 0] = LEVELS - 1 - x[:, 0]
        score, p = rescore(x)
        grade = 1 + np.searchsorted(EDGES, p, side="left")
        validation = replace(validation, features=x, score=score, probability=p, grade=grade)
    if fault == "leak":
        for name in ("development", "initial", "validation"):
            sample = {"development": development, "initial": initial, "validation": validation}[
                name
            ]
            x = sample.features.copy()
            x[:, 5] = sample.label * 7 + rng.integers(0, 3, len(sample))
            sample = replace(sample, features=x)
            development, initial, validation = (
                sample if n == name else s
                for n, s in (
                    ("development", development),
                    ("initial", initial),
                    ("validation", validation),
                )
            )
    if fault == "table":
        first = served.effects[0]
        cells = first.score.copy()
        cells[[4, 5]] = cells[[5, 4]]
        turned = explained_effect((0,), first.splits, cells, np.ones(LEVELS + 1, dtype=np.int64))
        served = replace(served, effects=(turned, *served.effects[1:]))
    features = tuple(
        Feature(f"x{k}", Text(f"feature {k}", f"特征 {k}"), d) for k, d in enumerate(DIRECTIONS)
    )
    sex = np.array(["F", "M"], dtype=object)[rng.integers(0, 2, len(validation))]
    return Material(
        subject={
            "name": same("truth"), "purpose": same("a test"), "target": same("default"),
            "kind": same("tables"), "owner": same("developer"), "exposure": same("none"),
            "materiality": same("none"), "model_sha256": "0" * 64, "data_sha256": validation.sha256,
            "directions": DIRECTIONS, "explain": explain,
        },
        features=features,
        grades=7,
        development=development,
        validation=validation,
        initial=initial,
        benchmarks=benchmarks(
            features, (development.features, development.label),
            (initial.features, initial.label), validation.features, seed,
        ),
        tables=served,
        rescore=rescore,
        protected={"sex": sex},
        prices=None,
        overrides=overrides(rng, 0.5 if fault == "overrides" else 0.0),
        migrations=None,
        served=None,
        split=same("drawn apart"),
        as_of="2026-11-20",
        seed=seed,
    )  # fmt: skip
