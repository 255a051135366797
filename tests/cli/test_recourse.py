"""``gearline recourse``: what is found is the least change there is, and the certificate holds."""

import itertools

import numpy as np
import pandas as pd
import pytest

import gearline
from models.scorer import Reference
from training import table_recourse
from training.estimator import AdditiveBoosterClassifier
from training.recipe import Recipe
from training.table_bundle import TableBundle
from training.table_lost import attained_values
from training.table_probability import fit_probability
from training.table_recourse import line_of, recourse


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a bundle of three coarse features and a category, its table, and its rows."""
    root = tmp_path_factory.mktemp("recourse")
    rng = np.random.default_rng(5)
    n = 1500
    late, limit, age = rng.integers(0, 6, n), rng.integers(0, 5, n), rng.integers(0, 4, n)
    job = rng.choice(["clerk", "owner", "none"], n)
    z = 0.7 * late - 0.5 * limit - 0.6 * (age * (job == "none")) + (job == "none") - 1
    label = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.int64)
    table = pd.DataFrame({"late": late * 1.0, "limit": limit * 1.0, "age": age * 1.0, "job": job})
    table.loc[rng.random(n) < 0.1, "limit"] = np.nan
    table.to_csv(root / "new.csv", index=False)
    model = AdditiveBoosterClassifier(
        recipe=Recipe(n_bags=2, max_rounds=30), categorical=["job"], random_state=1
    ).fit(table, label)
    served = model.tables_
    counts = Reference.of(served.tables.effects, served.front.encode(model.reference_))
    TableBundle(
        model.encoder_, served, fit_probability(model.tables_score(table), label, 1),
        counts.to_json(), {"target": "bad"},
    ).write(root / "bundle")  # fmt: skip
    bundle = TableBundle.read(root / "bundle")
    levels = bundle.encoder.features[3].levels or ()
    rows = np.column_stack([table[["late", "limit", "age"]], [levels.index(j) for j in job]])
    return root, bundle, rows.astype(np.float64)


def scored(bundle, rows):
    return bundle.tables.score(bundle.encoder.encode(np.asarray(rows, dtype=np.float64)))


def by_brute_force(bundle, row, mutable, line):
    """Fewest changes and the least score with each number of changes, over all combinations."""
    candidates = attained_values(bundle)
    choices = [[row[f], *(v for v in candidates[f] if v != row[f])] for f in mutable]
    rows = np.tile(row, (int(np.prod([len(c) for c in choices])), 1))
    rows[:, mutable] = list(itertools.product(*choices))
    changed = (rows != row) & ~(np.isnan(rows) & np.isnan(row))
    score, count = scored(bundle, rows), changed.sum(axis=1)
    least = {k: int(score[count == k].min()) for k in range(len(mutable) + 1) if (count == k).any()}
    enough = [k for k, s in least.items() if s <= line]
    return (min(enough) if enough else None), least


def test_it_finds_the_fewest_changes_that_brute_force_finds_and_certifies_them(made):
    _, bundle, rows = made
    mutable = [0, 1, 2, 3]
    worst = np.argsort(-scored(bundle, rows), kind="stable")[:200:10]
    counts = set()
    for r in worst:
        start = int(scored(bundle, rows[r][None])[0])
        fewest_there, least_there = by_brute_force(bundle, rows[r], mutable, start)
        for line in (start, *(least_there[k] + 1000 for k in (1, 2, 3)), min(least_there.values())):
            fewest, least = by_brute_force(bundle, rows[r], mutable, line)
            found = recourse(bundle, rows[r], mutable, line)
            assert found.status == ("already" if fewest == 0 else "found")
            assert len(found.changes) == fewest
            after = rows[r].copy()
            for f, v in found.changes:
                after[f] = v
            assert int(scored(bundle, after[None])[0]) == found.score <= line
            if fewest:
                assert found.least_with_fewer == min(least[k] for k in range(fewest))
                assert found.least_with_fewer > line
            counts.add(fewest)
        none = recourse(bundle, rows[r], mutable, min(least_there.values()) - 1)
        assert (none.status, none.least_with_fewer) == ("none", min(least_there.values()))
        assert fewest_there == 0
    assert {0, 1, 2} <= counts


def test_among_equally_many_changes_it_passes_the_fewest_bins(made):
    _, bundle, rows = made
    row = rows[int(np.argmax(scored(bundle, rows)))]
    others = np.sort(attained_values(bundle)[0])
    others = others[others != row[0]]
    line = int(np.median([scored(bundle, [np.r_[v, row[1:]]])[0] for v in others]))
    found = recourse(bundle, row, [0], line)
    good = [v for v in others if int(scored(bundle, [np.r_[v, row[1:]]])[0]) <= line]
    place = np.searchsorted(others, row[0])
    away = {v: place - k if k < place else k - place + 1 for k, v in enumerate(others)}
    assert found.steps == min(away[v] for v in good)


def test_a_search_that_is_too_long_says_so(made, monkeypatch):
    _, bundle, rows = made
    monkeypatch.setattr(table_recourse, "MOST_NODES", 3)
    found = recourse(bundle, rows[0], [0, 1, 2, 3], -(2**50))
    assert found.status == "not searched"
    assert found.least_with_fewer is None


def test_the_line_is_the_greatest_score_at_the_probability(made):
    bundle = made[1]
    line = line_of(bundle, 0.2)
    p = bundle.calibration.probability(np.array([line, line + 2**20]))
    assert p[0] <= 0.2 < p[1]


def test_the_command_prints_its_documented_keys(made, cli, undocumented):
    root, bundle, rows = made
    row = int(np.argmax(scored(bundle, rows)))
    asked = ("recourse", root / "bundle", root / "new.csv", "--row", row, "--mutable", "late,job")
    ran = cli(*asked, "--below", 0.5, "--json")
    assert ran.code == gearline.DONE, ran.err
    assert ran.document["status"] == "found"
    assert undocumented("recourse", ran.document) == []
    assert ran.document["probability_after"] <= 0.5 < ran.document["probability_with_fewer"]
    never = cli(*asked, "--below", 0.000001)
    assert never.code == gearline.FOUND
    unknown = cli(*asked[:-1], "colour", "--below", 0.5)
    assert unknown.code == gearline.REFUSED
    assert "--mutable names 'colour', which is no feature of the bundle" in unknown.err
