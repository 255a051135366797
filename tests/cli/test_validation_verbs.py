"""validate table, report and diff from the command line: documented keys, files, refusals."""

import csv
import json

import numpy as np
import pytest

import gearline


@pytest.fixture(scope="module")
def loans(tmp_path_factory):
    """1,200 loans with a number, a category, missing values and a protected column."""
    rng = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("loans") / "loans.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["income", "debt", "kind", "sex", "bad"])
        for _ in range(1200):
            income, debt = rng.lognormal(3, 0.6), rng.lognormal(2, 0.8)
            kind = rng.choice(["car", "home", "other"])
            p = 1 / (
                1 + np.exp(2.2 - 0.9 * np.log(debt) + 0.7 * np.log(income) - (kind == "other"))
            )
            cells = [round(income, 2), round(debt, 2) if rng.random() > 0.05 else "", kind]
            writer.writerow([*cells, rng.choice(["F", "M"]), int(rng.random() < p)])
    return path


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return tmp_path_factory.mktemp("key") / "validation.key"


def validate(cli, loans, key, out, *more):
    return cli(
        "validate", "table", loans, "--target", "bad", "--protected", "sex", "--monotone", "debt:+",
        "--on", "2026-11-20", "--key", key, "--out", out, "--json", *more,
    )  # fmt: skip


@pytest.mark.long
def test_a_table_is_validated_and_two_reports_compared(
    cli, loans, key, tmp_path, undocumented, monkeypatch
):
    monkeypatch.setattr("training.validation.render.shutil.which", lambda name: None)
    one = validate(cli, loans, key, tmp_path / "1")
    assert one.code in (gearline.DONE, gearline.FOUND), one.err
    assert undocumented("validate table", one.document) == []
    assert one.document["not_applicable"] == ["regimes", "prices", "overrides"]
    again = validate(cli, loans, key, tmp_path / "2")
    assert again.document["report_sha256"] == one.document["report_sha256"]
    report = json.loads((tmp_path / "1" / "report.json").read_bytes())
    fairness = next(s for s in report["sections"] if s["key"] == "fairness")
    assert {row[1] for row in fairness["tables"][1]["rows"]} == {"F", "M"}
    assert "sex" not in {
        f["text"]["en"] for s in report["sections"] for f in s["charts"] if "text" in f
    }

    same = cli("validate", "diff", tmp_path / "1", tmp_path / "2", "--json")
    assert same.code == gearline.DONE
    assert undocumented("validate diff", same.document, empty=("differences[]",)) == []
    other = validate(cli, loans, key, tmp_path / "3", "--seed", 8)
    assert other.document["key_id"] == one.document["key_id"]
    differ = cli("validate", "diff", tmp_path / "1", tmp_path / "3", "--json")
    assert differ.code == gearline.FOUND
    assert undocumented("validate diff", differ.document) == []
    assert differ.document["same_data"] is True
    assert differ.document["same_model"] is False


@pytest.mark.long
def test_the_demos_bundle_is_validated_on_its_lake(
    small_demo, cli, key, tmp_path, undocumented, monkeypatch
):
    monkeypatch.setattr("training.validation.render.shutil.which", lambda name: None)
    ran = cli(
        "validate", "report", small_demo.path / "bundle", small_demo.path, "--out", tmp_path / "v",
        "--on", "2026-11-20", "--key", key, "--json",
    )  # fmt: skip
    assert ran.code in (gearline.DONE, gearline.FOUND), ran.err
    assert undocumented("validate report", ran.document) == []
    report = json.loads((tmp_path / "v" / "report.json").read_bytes())
    assert report["subject"]["model_sha256"] == small_demo.summary["bundle_sha256"]
    figures = {
        f"{s['key']}.{f['key']}": f["value"] for s in report["sections"] for f in s["figures"]
    }
    assert figures["proofs.monotone_violations"] == 0
    assert figures["proofs.protected_inputs"] == 0
    assert figures["proofs.served_compared"] > 500
    assert figures["proofs.served_different"] == 0
    assert figures["explanation.additivity"] <= 1e-9
    applies = {s["key"]: s["applies"] for s in report["sections"]}
    assert [k for k, v in applies.items() if not v] == ["overrides"]
    rules = {f["rule"] for f in report["findings"]}
    assert rules.isdisjoint({"monotone", "served", "additivity", "leakage", "protected_path"})


def test_too_few_rows_a_wrong_column_and_a_foreign_folder_are_refused(cli, loans, key, tmp_path):
    short = tmp_path / "short.csv"
    short.write_text("\n".join(loans.read_text().splitlines()[:140]) + "\n")
    refused = validate(cli, short, key, tmp_path / "v")
    assert refused.code == gearline.REFUSED
    assert "rows" in refused.err
    wrong = cli(
        "validate", "table", loans, "--target", "bad", "--protected", "age", "--out", tmp_path / "v"
    )
    assert wrong.code == gearline.REFUSED
    assert "has no column 'age' for --protected" in wrong.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    foreign = validate(cli, loans, key, tmp_path / "mine")
    assert foreign.code == gearline.REFUSED
    nothing = cli("validate", "diff", tmp_path / "mine", tmp_path / "mine")
    assert nothing.code == gearline.REFUSED
    assert "is no validation report: report.json is missing" in nothing.err


def test_the_self_test_exits_with_1_where_a_number_is_wrong(cli, tmp_path):
    (tmp_path / "psi.json").write_text(
        '{"cases": [{"expected": [0.5, 0.5], "actual": [0.6, 0.4], "psi": 0.05}]}'
    )
    ran = cli("validate", "self-test", "--vectors", tmp_path, "--json")
    assert ran.code == gearline.FOUND
    assert ran.document["failed"] == 2
    assert ran.document["by_file"]["psi.json"]["failures"][0]["expected"] == 0.05
