"""``model list | show | compare``: read what MLflow holds of trainings and reports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from training.registry import Run, changed_files, find_run, list_runs

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
DONE, FOUND = 0, 1


def _head(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "bundle_sha256": run.bundle_sha256,
        "logged_at": run.logged_at,
        "finished": run.finished,
        "feature_set": run.parameters.get("feature_set"),
        "seed": None if "seed" not in run.parameters else int(run.parameters["seed"]),
        "data_sha256": run.data_sha256,
        "recipe_sha256": run.recipe_sha256,
        "reports": run.reports,
    }


def run_list(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model list``."""
    runs = list_runs(arguments.mlflow)
    lines = [
        f"{r.logged_at}  run {r.run_id[:12]}  bundle {r.bundle_sha256[:16]}"
        f"  {r.parameters.get('feature_set', 'table')}"
        + "".join(f"  report {p['report_sha256'][:12]} grade {p['grade']}" for p in r.reports)
        for r in runs
    ]
    text = "\n".join(lines) or "no runs"
    return DONE, {"store": str(arguments.mlflow), "runs": [_head(r) for r in runs]}, text


def run_show(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model show``: exit code 1 where an artefact is not what was logged."""
    run = find_run(arguments.mlflow, arguments.which)
    changed = changed_files(arguments.mlflow, run)
    document = {
        **_head(run),
        "parameters": run.parameters,
        "metrics": run.metrics,
        "files": run.files,
        "changed": changed,
    }
    lines = [f"run {run.run_id} of {run.logged_at}, bundle {run.bundle_sha256}"]
    lines += [f"  {k}: {v[:120]}" for k, v in run.parameters.items()]
    lines += [f"  {k}: {v:g}" for k, v in run.metrics.items()]
    lines += [f"  {sha256[:16]} {path}" for path, sha256 in run.files.items()]
    lines += [f"NOT as it was logged: {path}" for path in changed]
    return (FOUND if changed else DONE), document, "\n".join(lines)


def run_compare(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model compare``: what differs between two runs."""
    one, two = (
        find_run(arguments.mlflow, stated) for stated in (arguments.first, arguments.second)
    )

    def differences(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
        names = sorted(a.keys() | b.keys())
        return [
            {"name": n, "first": a.get(n), "second": b.get(n)}
            for n in names
            if a.get(n) != b.get(n)
        ]

    parameters = differences(dict(one.parameters), dict(two.parameters))
    metrics = differences(dict(one.metrics), dict(two.metrics))
    document = {
        "first": _head(one),
        "second": _head(two),
        "same_bundle": one.bundle_sha256 == two.bundle_sha256,
        "same_data": one.data_sha256 is not None and one.data_sha256 == two.data_sha256,
        "same_recipe": one.recipe_sha256 is not None and one.recipe_sha256 == two.recipe_sha256,
        "parameters": parameters,
        "metrics": metrics,
    }
    lines = [f"run {one.run_id[:12]} against {two.run_id[:12]}"]
    lines += [f"  {d['name']}: {d['first']} -> {d['second']}" for d in (*parameters, *metrics)]
    return (DONE if document["same_bundle"] else FOUND), document, "\n".join(lines)
