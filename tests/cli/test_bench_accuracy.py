"""``bench accuracy``: documented keys, what cannot run says why, and its statistics are right."""

from typing import Any

import numpy as np
import pytest

import gearline
from training.bench import accuracy, credit_sets
from training.bench.rivals import BLACK, GLASS
from training.estimator_bags import parts_of

NUMBERS = (1, 4, 7, 10, 12, 15, 17)
"""Columns of the made-up set that hold numbers, as in the set it looks like."""


@pytest.fixture
def data(tmp_path):
    """A folder with one set of the right form, all made up."""
    rng = np.random.default_rng(0)
    (tmp_path / "german").mkdir()
    lines = []
    for _ in range(300):
        row = [
            str(rng.integers(1, 60)) if k in NUMBERS else f"A{rng.integers(3)}" for k in range(20)
        ]
        risk = 1 / (1 + np.exp(-(int(row[1]) - 40) / 8))
        lines.append(" ".join([*row, "2" if rng.random() < risk else "1"]))
    (tmp_path / "german" / "german.data").write_text("\n".join(lines), "utf-8")
    return tmp_path


def test_it_prints_the_documented_keys_and_names_what_is_not_installed(
    data, cli, undocumented, monkeypatch
):
    really = accuracy._missing
    quick = ("logistic", "lightgbm", "ours_frozen")
    monkeypatch.setattr(accuracy, "_missing", lambda m: really(m) if m in quick else f"no {m} here")
    ran = cli("bench", "accuracy", "--data", data, "--minutes", 5, "--json")
    assert ran.code == gearline.DONE, ran.err
    assert undocumented("bench accuracy", ran.document, empty=["cut[]"]) == []
    found = {r["model"]: r for r in ran.document["sets"]}
    assert found.keys() == GLASS.keys() | BLACK.keys()
    assert found["ebm"]["auc"] is None
    assert found["ebm"]["reason"] == "no ebm here"
    assert all(found[m]["folds"] == accuracy.FOLDS for m in quick)
    assert all(found[m]["auc"] > 0.6 for m in quick)
    assert {p["model"] for p in ran.document["paired"]} == {"logistic", "lightgbm"}


def test_a_run_goes_on_behind_the_folds_that_an_earlier_one_kept(data, cli, tmp_path, monkeypatch):
    kept = tmp_path / "kept" / "folds.jsonl"
    asked = ("bench", "accuracy", "--data", data, "--minutes", 5, "--resume", kept, "--json")
    whole = cli(*asked, "--methods", "logistic")
    assert whole.code == gearline.DONE, whole.err
    lines = kept.read_text("utf-8").splitlines(keepends=True)
    assert len(lines) == 1 + accuracy.FOLDS
    kept.write_text("".join(lines[:3]) + lines[3][:20], "utf-8")  # cut off while writing the third
    fitted = []
    really = GLASS["logistic"]

    def counted(task):
        fitted.append(task.seed)
        return really(task)

    monkeypatch.setitem(GLASS, "logistic", counted)
    again = cli(*asked, "--methods", "logistic")
    assert len(fitted) == accuracy.FOLDS - 2
    assert len(kept.read_text("utf-8").splitlines()) == 1 + accuracy.FOLDS
    rows = [
        next(r for r in ran.document["sets"] if r["model"] == "logistic") for ran in (whole, again)
    ]
    assert rows[0]["auc"] == rows[1]["auc"]
    other = cli(*asked, "--methods", "logistic", "--seed", 8)
    assert other.code == gearline.REFUSED
    assert "holds folds of seed 7, not 8; ask the same or name another file" in other.err


def test_a_method_that_does_not_exist_is_refused_by_name(data, cli):
    ran = cli("bench", "accuracy", "--data", data, "--methods", "logistic,perceptron")
    assert ran.code == gearline.REFUSED
    assert "--methods names 'perceptron'; there are: logistic, scorecard" in ran.err


def test_gaps_are_to_the_best_box_of_each_kind_and_never_to_ours_tuned():
    rows = [
        {"set": "a", "model": m, "auc": v}
        for m, v in (("ebm", 0.8), ("logistic", 0.7), ("ours_tuned", 0.9), ("catboost", 0.85))
    ]
    pairs = [
        {"set": "a", "model": r["model"], "auc_difference": 0.0, "standard_error": None, "folds": 5}
        for r in rows
    ]
    pairs.append({**pairs[0], "model": "scorecard", "folds": 2})
    rows.append({"set": "a", "model": "scorecard", "auc": 0.95})
    assert [(g["box"], g["model"]) for g in accuracy.gaps(rows, pairs)] == [
        ("glass", "ebm"),
        ("black", "catboost"),
    ]


def test_the_corrected_error_is_nadeau_and_bengio_s():
    differences = np.array([0.01, 0.02, 0.00, 0.03, -0.01])
    expected = np.sqrt((1 / 5 + 0.25) * differences.var(ddof=1))
    assert accuracy.corrected_error(differences, 1 / 5) == pytest.approx(expected)


def test_calibration_error_of_a_perfect_and_of_a_shifted_forecast():
    p = np.repeat([0.1, 0.5], 1000)
    label = np.concatenate([np.arange(1000) < 100, np.arange(1000) < 500]).astype(np.int64)
    order = np.random.default_rng(0).permutation(2000)
    assert accuracy.ece(p[order], label[order], bins=2) == pytest.approx(0.0, abs=1e-12)
    assert accuracy.ece(p[order] + 0.1, label[order], bins=2) == pytest.approx(0.1)


def test_ranks_leave_out_smoke_sets_and_unfinished_methods_and_share_ties():
    rows: list[dict[str, Any]] = [
        {"set": "a", "role": "test", "model": "x", "auc": 0.8, "folds": 5},
        {"set": "a", "role": "test", "model": "y", "auc": 0.8, "folds": 5},
        {"set": "a", "role": "test", "model": "z", "auc": None, "folds": 0},
        {"set": "a", "role": "test", "model": "w", "auc": 0.9, "folds": 4},
        {"set": "b", "role": "smoke", "model": "x", "auc": 0.9, "folds": 5},
    ]
    assert accuracy.mean_ranks(rows) == {"x": 1.5, "y": 1.5}


def test_folds_never_divide_a_cluster():
    clusters = np.repeat(np.arange(50), 4)
    label = (np.arange(200) % 3 == 0).astype(np.int64)
    part = parts_of(label, clusters, 5, 1)
    assert all(len(set(part[clusters == c])) == 1 for c in range(50))
    assert set(part) == set(range(5))


def test_near_rows_are_one_cluster():
    import pandas as pd

    x = np.array([0.0, 0.001, 5.0, 9.0])
    assert list(credit_sets.near_twins(pd.DataFrame({"x": x}))) == [0, 0, 1, 2]
