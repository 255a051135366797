"""MLflow's runs: logged once, with the hash of every file; read again by list, show and compare."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest

import gearline
from data_contracts.errors import InputError
from data_contracts.provenance import TrainingRecord, lake_sha256
from tests.models.builders import BUNDLE
from training.registry import list_runs, log_report, log_training
from training.validation.signing import load_key, write_signed

DATA = "d" * 64
REPORT = {"trees": 12, "auc": 0.8125, "split": "out-of-time", "calibration_tiers": [1, 2, 3]}


def bundle_at(folder: Path, seed: int = 7, data: str = DATA) -> Path:
    BUNDLE.write(folder)
    TrainingRecord(BUNDLE.sha256, {"bags": 5, "rate": "0.1"}, data, seed).write(folder)
    return folder


def signed(folder: Path, model: str, grade: int = 1) -> Path:
    """A signed report with what the registry reads of one."""
    folder.mkdir()
    document = {"subject": {"model_sha256": model}, "grade": grade, "as_of": "2026-11-20"}
    write_signed(folder, document, load_key(folder.parent / "key.pem"))
    return folder


@pytest.mark.long
def test_the_same_training_is_one_run_and_another_seed_another(tmp_path):
    store, bundle = tmp_path / "mlflow", bundle_at(tmp_path / "bundle")
    first = log_training(store, bundle, BUNDLE.sha256, REPORT)
    assert log_training(store, bundle, BUNDLE.sha256, REPORT) == first
    bundle_at(tmp_path / "bundle", seed=8)
    assert log_training(store, bundle, BUNDLE.sha256, REPORT) != first
    one, two = list_runs(store)
    assert one.metrics == {"auc": 0.8125, "trees": 12.0}
    assert (one.parameters["seed"], two.parameters["seed"]) == ("7", "8")
    assert one.parameters["calibration_tiers"] == "[1,2,3]"
    assert (one.data_sha256, one.recipe_sha256 == two.recipe_sha256) == (DATA, False)
    assert {f"bundle/{name}" for name in BUNDLE.files} < set(one.files)


@pytest.mark.long
def test_a_logging_that_was_broken_off_is_finished_as_the_same_run(tmp_path, monkeypatch):
    from mlflow.tracking import MlflowClient

    def full() -> None:
        raise OSError("the disk is full")

    store, bundle = tmp_path / "mlflow", bundle_at(tmp_path / "bundle")
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", lambda *a, **k: full())
        with pytest.raises(OSError, match="the disk is full"):
            log_training(store, bundle, BUNDLE.sha256, REPORT)
    assert [r.finished for r in list_runs(store)] == [False]
    log_training(store, bundle, BUNDLE.sha256, REPORT)
    assert [r.finished for r in list_runs(store)] == [True]


@pytest.mark.long
def test_a_signed_report_lies_in_its_bundles_run_and_one_of_another_bundle_is_refused(tmp_path):
    store, bundle = tmp_path / "mlflow", bundle_at(tmp_path / "bundle")
    run = log_training(store, bundle, BUNDLE.sha256, REPORT)
    report = signed(tmp_path / "report", BUNDLE.sha256, grade=2)
    for _ in range(2):
        assert log_report(store, bundle, BUNDLE.sha256, report) == run
    [found] = list_runs(store)
    assert [(r["grade"], r["as_of"]) for r in found.reports] == [(2, "2026-11-20")]
    assert sum(name.startswith("validation/") for name in found.files) == 2
    with pytest.raises(InputError, match="log it to the run of its own bundle"):
        log_report(store, bundle, BUNDLE.sha256, signed(tmp_path / "strange", "e" * 64))
    (report / "report.json").write_bytes(b"{}\n")
    with pytest.raises(InputError, match="was changed after it was signed"):
        log_report(store, bundle, BUNDLE.sha256, report)


def test_what_is_not_json_is_no_part_of_a_bundle(tmp_path):
    bundle = bundle_at(tmp_path / "bundle")
    (bundle / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="never a pickle"):
        log_training(tmp_path / "mlflow", bundle, BUNDLE.sha256, REPORT)
    assert not (tmp_path / "mlflow").exists()


@pytest.mark.long
def test_list_show_and_compare_print_what_is_documented(tmp_path, cli, undocumented):
    store = tmp_path / "mlflow"
    one = bundle_at(tmp_path / "one")
    log_training(store, one, BUNDLE.sha256, REPORT)
    log_report(store, one, BUNDLE.sha256, signed(tmp_path / "report", BUNDLE.sha256))
    first, = list_runs(store)  # fmt: skip
    second = log_training(store, bundle_at(tmp_path / "two", 9), BUNDLE.sha256, {"trees": 13})
    listed = cli("model", "list", "--mlflow", store, "--json")
    assert listed.code == gearline.DONE, listed.err
    assert undocumented("model list", listed.document) == []
    assert [r["seed"] for r in listed.document["runs"]] == [7, 9]

    shown = cli("model", "show", first.run_id, "--mlflow", store, "--json")
    assert (shown.code, undocumented("model show", shown.document)) == (gearline.DONE, [])
    assert shown.document["changed"] == []
    compared = cli("model", "compare", first.run_id, second, "--mlflow", store, "--json")
    assert (compared.code, undocumented("model compare", compared.document)) == (gearline.DONE, [])
    assert compared.document["same_data"] is True
    assert compared.document["same_recipe"] is False
    assert {"name": "trees", "first": 12.0, "second": 13.0} in compared.document["metrics"]

    path = next((store / "artifacts").glob(f"{first.run_id}/artifacts/bundle/tiers.json"))
    path.write_text(json.dumps({"edges": [1, 2, 3, 4, 5, 6]}))
    changed = cli("model", "show", first.run_id, "--mlflow", store, "--json")
    assert (changed.code, changed.document["changed"]) == (gearline.FOUND, ["bundle/tiers.json"])


def test_a_folder_without_runs_says_how_to_log_one(tmp_path, cli):
    ran = cli("model", "list", "--mlflow", tmp_path)
    assert ran.code == gearline.REFUSED
    assert "log one with `gearline train" in ran.err


def test_the_record_of_a_training_is_of_its_bundle_and_its_recipe(tmp_path):
    bundle = bundle_at(tmp_path / "bundle")
    assert TrainingRecord.read(bundle, BUNDLE.sha256).seed == 7
    with pytest.raises(InputError, match="is of bundle"):
        TrainingRecord.read(bundle, "f" * 64)
    path = bundle / "training.json"
    document = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**document, "seed": 8}))
    with pytest.raises(InputError, match="the recipe is not the one its hash is of"):
        TrainingRecord.read(bundle, BUNDLE.sha256)
    path.unlink()
    with pytest.raises(InputError, match="it is not known which recipe and data made it"):
        TrainingRecord.read(bundle, BUNDLE.sha256)


def test_a_changed_table_is_another_hash_of_the_data(tmp_path):
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "part-0.parquet").write_bytes(b"one")
    before = lake_sha256(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "decisions.parquet").write_bytes(b"no table of the contract")
    assert lake_sha256(tmp_path) == before
    (tmp_path / "bars" / "part-0.parquet").write_bytes(b"two")
    assert lake_sha256(tmp_path) != before
