"""A training run in MLflow can be found and its bundle loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.registry import log_training


@pytest.mark.long
def test_a_logged_run_keeps_the_report_the_hash_and_the_bundle(tmp_path):
    from mlflow.tracking import MlflowClient

    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "bundle.json").write_text("{}")
    run_id = log_training(
        tmp_path / "mlflow", bundle, "ab" * 32, {"trees": 12, "split": "out-of-time"}
    )
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    run = client.get_run(run_id)
    assert run.data.metrics == {"trees": 12.0}
    assert run.data.params == {"split": "out-of-time"}
    assert run.data.tags["bundle_sha256"] == "ab" * 32
    fetched = client.download_artifacts(run_id, "bundle/bundle.json")
    assert Path(fetched).read_text() == "{}"
