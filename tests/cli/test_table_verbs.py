"""``gearline fit`` and ``gearline score``: any labelled table in, probabilities with parts out."""

from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import gearline
from data_contracts.units import LOG_ODDS_ONE
from tests.cli.test_help_and_imports import ABSENT, NOT_TO_DECIDE, RUN, run_python
from training import table_fit
from training.estimator import AdditiveBoosterClassifier
from training.recipe import Recipe
from training.table_bundle import TableBundle
from training.table_probability import CANDIDATES, fit_probability

QUICK = Recipe(n_bags=2, max_rounds=25)
ROUNDING = 1e-9


def loans(rows=900, seed=0):
    """Text, a code, missing numbers and a yes/no outcome."""
    rng = np.random.default_rng(seed)
    debt, income = rng.random(rows), rng.normal(size=rows)
    purpose = rng.choice(["car", "house", "other"], rows)
    z = 4 * debt - income + (purpose == "other") - 2.5
    bad = rng.random(rows) < 1 / (1 + np.exp(-z))
    debt[rng.random(rows) < 0.1] = -7
    income[rng.random(rows) < 0.1] = np.nan
    branch = rng.integers(0, 300, rows)
    columns = {"debt": debt, "income": income, "purpose": purpose, "branch": branch}
    return pd.DataFrame({**columns, "bad": np.where(bad, "yes", "no")})


OPTIONS = (
    "--target", "bad", "--positive", "yes", "--group", "branch",
    "--monotone", "debt:+,income:-", "--special", "debt:-7",
)  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with the table as CSV and Parquet, and a bundle fitted on it."""
    root = tmp_path_factory.mktemp("fit")
    data = loans()
    data.to_csv(root / "loans.csv", index=False)
    data.to_parquet(root / "loans.parquet")
    models = []
    with pytest.MonkeyPatch.context() as patch:
        really = AdditiveBoosterClassifier

        def quick(**settings):
            models.append(really(recipe=QUICK, **settings))
            return models[-1]

        patch.setattr(table_fit, "AdditiveBoosterClassifier", quick)
        printed = []
        patch.setattr(gearline, "emit", lambda document, as_json, text: printed.append(document))
        command = [
            "fit",
            str(root / "loans.csv"),
            *OPTIONS,
            "--out",
            str(root / "bundle"),
            "--json",
        ]
        assert gearline.main(command) == gearline.DONE
    return root, models[0], printed[0]


def test_a_fit_prints_the_documented_keys(fitted, undocumented):
    _, _, document = fitted
    assert undocumented("fit", document) == []
    assert (document["rows"], document["features"]) == (900, 3)
    assert document["categories"] == ["purpose"]


def test_the_tables_are_proved_against_the_boosters(fitted):
    assert fitted[2]["max_abs_difference_to_pred_contrib"] < ROUNDING


def test_a_score_is_the_model_s_and_its_parts_sum_to_it(fitted, cli, undocumented):
    root, model, _ = fitted
    out = root / "scores.parquet"
    ran = cli("score", root / "bundle", root / "loans.csv", "--out", out, "--explain", "--json")
    assert undocumented("score", ran.document) == []
    scores = pq.read_table(out).to_pandas()
    names = ["row", "log_odds", "probability", "phi:base"]
    assert list(scores) == [*names, "phi:debt", "phi:income", "phi:purpose"]
    X = loans()[["debt", "income", "purpose"]]
    assert np.array_equal(scores["log_odds"], model.decision_function(X))
    assert np.array_equal(scores.filter(like="phi:").sum(axis=1), scores["log_odds"])
    assert np.array_equal(scores["row"], np.arange(len(X)))
    calibration = TableBundle.read(root / "bundle").calibration
    assert np.array_equal(scores["probability"], calibration.probability(model.tables_score(X)))
    if calibration.method == "identity":
        p = model.predict_proba(X)[:, 1]
        assert np.abs(scores["probability"] - p).max() < ROUNDING


def test_points_lost_are_to_the_best_value_that_the_reference_has_and_disagreement_is_flagged(
    fitted, cli, undocumented
):
    root, model, _ = fitted
    out = root / "lost.parquet"
    asked = ("score", root / "bundle", root / "loans.csv", "--out", out)
    ran = cli(*asked, "--explain", "--lost", "--json")
    assert undocumented("score", ran.document, given=["--lost"]) == []
    scores = pq.read_table(out).to_pandas()
    X = loans()[["debt", "income", "purpose"]]
    tried: dict[str, list[Any]] = {
        "debt": [-7.0, *np.linspace(X["debt"][X["debt"] >= 0].min(), X["debt"].max(), 400)],
        "income": np.linspace(X["income"].min(), X["income"].max(), 400).tolist(),
        "purpose": ["car", "house", "other"],
    }
    for name, values in tried.items():
        few = X[:40]
        best = np.full(len(few), np.inf)
        for value in values:
            best = np.minimum(best, model.decision_function(few.assign(**{name: value})))
        found = scores["log_odds"][:40] - best
        lost = scores[f"lost:{name}"][:40]
        assert (lost >= 0).all()
        # the grid above holds values of bins without a reference row too: none lost less
        assert (lost <= np.maximum(found, 0) + ROUNDING).all()
        if name == "purpose":
            assert np.allclose(lost, found, atol=ROUNDING)
    assert np.allclose(scores["lost:purpose"].groupby(X["purpose"]).min().min(), 0.0)
    first = scores.filter(like="phi:").drop(columns="phi:base").to_numpy()
    lost = scores.filter(like="lost:").to_numpy()
    apart = (first.max(axis=1) > 0) & (
        lost[np.arange(len(lost)), first.argmax(axis=1)] < lost.max(axis=1)
    )
    assert np.array_equal(scores["reasons_disagree"] == 1, apart)
    assert ran.document["reasons_disagree_share"] == pytest.approx(apart.mean(), abs=1e-6)
    refused = cli(*asked, "--lost")
    assert refused.code == gearline.REFUSED
    assert "--lost goes with --explain" in refused.err


def test_csv_and_parquet_give_the_same_scores(fitted, cli):
    root = fitted[0]
    for kind in ("csv", "parquet"):
        cli("score", root / "bundle", root / f"loans.{kind}", "--out", root / f"of-{kind}.csv")
    one, two = (pyarrow.csv.read_csv(root / f"of-{k}.csv") for k in ("csv", "parquet"))
    assert one.equals(two)


def test_the_same_fit_gives_the_same_bundle(fitted):
    root, _, document = fitted
    assert TableBundle.read(root / "bundle").sha256 == document["bundle_sha256"]


def test_the_bundle_is_json_and_every_file_is_pinned(fitted):
    folder = fitted[0] / "bundle"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    manifest = orjson.loads((folder / "bundle.json").read_bytes())
    assert files == {"bundle.json", *manifest["files"]}
    assert all(orjson.loads((folder / name).read_bytes()) for name in files)


def test_no_reference_cell_holds_fewer_rows_than_five(fitted):
    reference = orjson.loads((fitted[0] / "bundle" / "reference.json").read_bytes())
    assert min(n for t in reference["tables"] for n in t["rows"]) >= 5


def test_scoring_needs_no_training_library(fitted):
    root = fitted[0]
    command = ["score", root / "bundle", root / "loans.csv", "--out", root / "bare.csv"]
    ran = run_python(ABSENT + RUN, ",".join(NOT_TO_DECIDE), *command, "--explain")
    assert orjson.loads(ran.stderr) == {"code": 0, "heavy": []}


def test_a_changed_file_is_refused(fitted, cli, tmp_path):
    root = fitted[0]
    for p in (root / "bundle").rglob("*.json"):
        copy = tmp_path / "bundle" / p.relative_to(root / "bundle")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(p.read_bytes())
    path = tmp_path / "bundle" / "calibration.json"
    path.write_bytes(path.read_bytes() + b" ")
    ran = cli("score", tmp_path / "bundle", root / "loans.csv", "--out", tmp_path / "s.csv")
    assert ran.code == gearline.REFUSED
    assert "calibration.json is not what bundle.json was made from" in ran.err


@pytest.mark.parametrize(
    ("command", "phrase"),
    [
        ("fit {csv} --target worse --out {new}", "has no column 'worse' for --target"),
        ("fit {csv} --target bad --out {new}", "say with --positive which one is the event"),
        ("fit {csv} --target bad --positive maybe --out {new}", "holds no and yes"),
        ("fit {csv} --target purpose --out {new}", "has 3 classes"),
        ("fit {one} --target bad --out {new}", "has 1 class ('0'); two are needed"),
        ("fit {few} --target bad --out {new}", "the rarer class of target 'bad' has 5 rows"),
        ("fit {dates} --target bad --out {new}", "leave the column out with --drop day"),
        ("fit {names} --target bad --out {new}", "leave it out with --drop name"),
        ("fit {none} --target bad --out {new}", "does not exist"),
        ("fit {empty} --target bad --out {new}", "cannot be read as CSV"),
        ("fit {text} --target bad --out {new}", "cannot be read as Parquet"),
        ("fit {csv} --target bad --positive yes --monotone debt --out {new}", "is not NAME:VALUE"),
        ("fit {csv} --target bad --positive yes --monotone debt:up --out {new}", "write + or -"),
        ("fit {csv} --target bad --positive yes --monotone age:+ --out {new}", "names 'age'"),
        ("fit {csv} --target bad --positive yes --special debt:a --out {new}", "write numbers"),
        ("fit {csv} --target bad --positive yes --group town --out {new}", "for --group"),
        ("score {bundle} {few} --out {new}", "lacks 'debt', 'income', 'purpose'"),
        ("score {csv} {csv} --out {new}", "it has no bundle.json"),
        ("score {bundle} {csv} --out {csv}", "which is read here"),
        ("score {bundle} {wrong} --out {new}", "column 'debt' holds string"),
    ],
)
def test_a_mistake_is_refused_in_one_line(command, phrase, fitted, cli, tmp_path):
    root = fitted[0]
    places = {n: tmp_path / f"{n}.csv" for n in ("one", "few", "dates", "names", "none", "empty")}
    many = pd.DataFrame({"x": range(400), "bad": [0, 1] * 200})
    many.assign(bad=0).to_csv(places["one"], index=False)
    many.assign(bad=[1] * 5 + [0] * 395).to_csv(places["few"], index=False)
    many.assign(day="2020-01-02").to_csv(places["dates"], index=False)
    many.assign(name=[f"n{k}" for k in range(400)]).to_csv(places["names"], index=False)
    places["empty"].write_text("", "utf-8")
    (tmp_path / "text.parquet").write_text("no table", "utf-8")
    loans().assign(debt="much").to_csv(tmp_path / "wrong.csv", index=False)
    places |= {"text": tmp_path / "text.parquet", "wrong": tmp_path / "wrong.csv"}
    places |= {"csv": root / "loans.csv", "bundle": root / "bundle", "new": tmp_path / "new"}
    ran = cli(*command.format(**places).split())
    assert (ran.code, ran.out) == (gearline.REFUSED, "")
    assert ran.err.startswith("gearline: ")
    assert ran.err.count("\n") == 1
    assert phrase in ran.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("method", CANDIDATES)
def test_every_calibration_map_rises_strictly(method, monkeypatch):
    rng = np.random.default_rng(0)
    z = rng.normal(size=1500)
    label = (rng.random(1500) < 1 / (1 + np.exp(-z))).astype(np.int64)
    monkeypatch.setattr("training.table_probability.CANDIDATES", {method: CANDIDATES[method]})
    found = fit_probability(np.rint(z * LOG_ODDS_ONE).astype(np.int64), label, 1)
    assert found.method == method
    at = np.linspace(-20, 20, 2001) * LOG_ODDS_ONE
    assert (np.diff(found.probability(at.astype(np.int64))) > 0).all()


def test_the_calibration_that_the_evidence_asks_for_is_taken():
    rng = np.random.default_rng(1)
    z = rng.normal(size=4000) * 2
    label = (rng.random(4000) < 1 / (1 + np.exp(-(z - 1) / 2))).astype(np.int64)
    found = fit_probability(np.rint(z * LOG_ODDS_ONE).astype(np.int64), label, 1)
    assert found.method == "logistic"
    assert found.log_loss["logistic"] < found.log_loss["identity"]
