"""Training runs in MLflow, on SQLite and files: parameters, metrics, and the bundle as an artefact."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

EXPERIMENT: Final = "gearline"


def log_training(store: Path, bundle: Path, bundle_sha256: str, report: Mapping[str, Any]) -> str:
    """Log a fitted bundle as an MLflow run; returns the run's id.

    The bundle's hash is a tag: artefacts behind a run can be overwritten, so whoever loads one must
    compare it. Numbers of the report become metrics, everything else parameters.

    Parameters
    ----------
    store : folder for ``mlflow.db`` and ``artifacts``; made if missing. ``mlflow ui
        --backend-store-uri sqlite:///STORE/mlflow.db`` shows it
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow.tracking import MlflowClient

    store.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{store.resolve()}/mlflow.db")
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = (
        client.create_experiment(
            EXPERIMENT, artifact_location=(store / "artifacts").resolve().as_uri()
        )
        if found is None
        else found.experiment_id
    )
    run = client.create_run(experiment, tags={"bundle_sha256": bundle_sha256})
    for name, value in report.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            client.log_metric(run.info.run_id, name, value)
        else:
            client.log_param(run.info.run_id, name, value)
    client.log_artifacts(run.info.run_id, str(bundle), artifact_path="bundle")
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
