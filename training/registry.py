"""Training runs and reports in MLflow, on SQLite and files, without network or telemetry.

A run holds parameters, seeds, the hash of the data, metrics, the bundle's files (JSON, never a
pickle) with the SHA-256 of each, and the signed validation reports of that bundle. The same
training logged again is the same run. Nothing that decides imports this or MLflow: what is in force
says the ledger.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.provenance import TRAINING_FILE, TrainingRecord
from data_contracts.signed_report import REPORT, read_signed

EXPERIMENT: Final = "gearline"
BUNDLE, REPORTS = "bundle", "validation"
"""Folders of a run's artefacts."""
FILE_TAG: Final = "file."
"""Before the path of an artefact, the tag that holds its SHA-256."""
REPORT_TAG: Final = "report."
"""Before the hash of a report, the tag that holds its grade and key."""
LONGEST_PARAM: Final = 6000
"""Characters that MLflow keeps of a parameter."""
_PAGE: Final = 200


def _client(store: Path, *, create: bool) -> tuple[Any, str]:
    """MLflow's client on a folder, and the experiment's id."""
    # before the import: telemetry begins with it
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    if not create and not (store / "mlflow.db").is_file():
        raise InputError(
            f"{store} holds no runs (mlflow.db is missing); log one with `gearline train LAKE"
            f" --out BUNDLE --mlflow {store}`"
        )
    from mlflow.tracking import MlflowClient

    store.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{store.resolve()}/mlflow.db")
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return client, str(found.experiment_id)
    place = (store / "artifacts").resolve().as_uri()
    return client, str(client.create_experiment(EXPERIMENT, artifact_location=place))


def _runs(client: Any, experiment: str, tags: str = "") -> Iterator[Any]:
    """The runs under a filter, the oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment], tags, max_results=_PAGE, page_token=token,
            order_by=["attributes.start_time ASC"],
        )  # fmt: skip
        yield from page
        token = page.token
        if not token:
            return


def _files_of(bundle: Path) -> list[Path]:
    """The bundle's files and the record of its training: JSON only, nothing that runs when read."""
    paths = sorted(p for p in bundle.rglob("*") if p.is_file())
    other = [p for p in paths if p.suffix != ".json"]
    if other:
        raise InputError(
            f"{other[0]} is no JSON; a bundle is JSON only, never a pickle: move it elsewhere"
        )
    if not (bundle / "bundle.json").is_file():
        raise InputError(f"{bundle} is not a bundle: it has no bundle.json")
    return paths


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list | tuple):
        return orjson.dumps(
            value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_SORT_KEYS
        ).decode()
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def log_training(store: Path, bundle: Path, bundle_sha256: str, report: Mapping[str, Any]) -> str:
    """Log a fitted bundle as an MLflow run; returns the run's id.

    Numbers of the report become metrics, everything else parameters; recipe, seed and the hash of
    the data come from the bundle's ``training.json`` where there is one. A training that is logged
    again adds nothing; one whose logging was broken off is finished. Artefacts behind a run can be
    overwritten, so their hashes are tags, and ``show`` compares.

    Parameters
    ----------
    store : folder for ``mlflow.db`` and ``artifacts``; made if missing. ``mlflow ui
        --backend-store-uri sqlite:///STORE/mlflow.db`` shows it
    """
    files = _files_of(bundle)
    record = None
    if (bundle / TRAINING_FILE).is_file():
        record = TrainingRecord.read(bundle, bundle_sha256)
    metrics = {k: float(v) for k, v in report.items() if _is_number(v)}
    parameters = {k: _text(v)[:LONGEST_PARAM] for k, v in report.items() if not _is_number(v)}
    tags = {"bundle_sha256": bundle_sha256}
    if record is not None:
        parameters |= {f"recipe.{k}": _text(v) for k, v in record.recipe.items()}
        parameters["seed"] = str(record.seed)
        tags |= {"data_sha256": record.data_sha256, "recipe_sha256": record.recipe_sha256}
    for path in files:
        tags[f"{FILE_TAG}{path.relative_to(bundle).as_posix()}"] = sha256_hex(path.read_bytes())
    key = {**tags, **parameters, **{k: repr(v) for k, v in metrics.items()}}
    tags["logged_sha256"] = sha256_hex(canonical_bytes(key))
    client, experiment = _client(store, create=True)
    run_id = None
    for known in _runs(client, experiment, f"tags.logged_sha256 = '{tags['logged_sha256']}'"):
        run_id = str(known.info.run_id)
        if known.info.status == "FINISHED":
            return run_id
    if run_id is None:
        run_id = str(client.create_run(experiment, tags=tags).info.run_id)
    for name, number in metrics.items():
        client.log_metric(run_id, name, number, step=0)
    for name, text in parameters.items():
        client.log_param(run_id, name, text)
    client.log_artifacts(run_id, str(bundle), artifact_path=BUNDLE)
    client.set_terminated(run_id)
    return run_id


def log_report(store: Path, bundle: Path, bundle_sha256: str, folder: Path) -> str:
    """Log a signed validation report to the run of its bundle; returns the run's id.

    A bundle that no run holds gets one. The report's files go to ``validation/HASH``; the same
    report again adds nothing.

    Raises
    ------
    InputError
        If the signature does not hold, or the report is of another bundle.
    """
    document, seal = read_signed(folder)
    if document["subject"]["model_sha256"] != bundle_sha256:
        raise InputError(
            f"{folder / REPORT} is of bundle {str(document['subject']['model_sha256'])[:16]}, not of"
            f" {bundle_sha256[:16]}; log it to the run of its own bundle"
        )
    client, experiment = _client(store, create=True)
    known = list(_runs(client, experiment, f"tags.bundle_sha256 = '{bundle_sha256}'"))
    run_id = str(known[-1].info.run_id) if known else log_training(store, bundle, bundle_sha256, {})
    digest = seal["report_sha256"]
    place = f"{REPORTS}/{digest[:16]}"
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        client.log_artifact(run_id, str(path), artifact_path=place)
        client.set_tag(run_id, f"{FILE_TAG}{place}/{path.name}", sha256_hex(path.read_bytes()))
    # last: a report that is named is there whole
    client.set_tag(
        run_id,
        f"{REPORT_TAG}{digest}",
        f"grade {document['grade']} as of {document['as_of']} key {seal['key_id']}",
    )
    return run_id


@dataclass(frozen=True)
class Run:
    """A run as the registry shows it.

    Attributes
    ----------
    reports : by hash, the grade, date and key of each signed report
    files : by path, the SHA-256 that was logged
    """

    run_id: str
    bundle_sha256: str
    logged_at: str
    finished: bool
    parameters: dict[str, str]
    metrics: dict[str, float]
    data_sha256: str | None
    recipe_sha256: str | None
    reports: list[dict[str, Any]]
    files: dict[str, str]


def _run(found: Any) -> Run:
    tags = found.data.tags
    at = dt.datetime.fromtimestamp(found.info.start_time / 1000, dt.UTC)
    reports = []
    for name, said in sorted(tags.items()):
        if name.startswith(REPORT_TAG):
            _, grade, _, _, as_of, _, key = said.split(" ")
            reports.append(
                {
                    "report_sha256": name.removeprefix(REPORT_TAG),
                    "grade": int(grade),
                    "as_of": as_of,
                    "key_id": key,
                }
            )
    return Run(
        str(found.info.run_id),
        str(tags.get("bundle_sha256")),
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        found.info.status == "FINISHED",
        dict(sorted(found.data.params.items())),
        dict(sorted(found.data.metrics.items())),
        tags.get("data_sha256"),
        tags.get("recipe_sha256"),
        reports,
        {
            (n if n.startswith(f"{REPORTS}/") else f"{BUNDLE}/{n}"): v
            for n, v in sorted(
                (k.removeprefix(FILE_TAG), v) for k, v in tags.items() if k.startswith(FILE_TAG)
            )
        },
    )


def list_runs(store: Path) -> list[Run]:
    """Every run, the oldest first."""
    client, experiment = _client(store, create=False)
    return [_run(r) for r in _runs(client, experiment)]


def find_run(store: Path, stated: str) -> Run:
    """The run whose id, or whose bundle's hash, begins so; of several of one bundle the last."""
    runs = list_runs(store)
    found = [r for r in runs if r.run_id.startswith(stated) or r.bundle_sha256.startswith(stated)]
    if not found or len({r.bundle_sha256 for r in found}) > 1:
        raise InputError(
            f"{len(found)} runs in {store} have an id or a bundle's hash that begins with"
            f" {stated!r}; `gearline model list --mlflow {store}` names them"
        )
    return found[-1]


def changed_files(store: Path, run: Run) -> list[str]:
    """Artefacts that are no longer what was logged, or are gone."""
    client, _ = _client(store, create=False)
    changed = []
    with tempfile.TemporaryDirectory(prefix="gearline-artefacts-") as name:
        for path, sha256 in run.files.items():
            try:
                got = Path(client.download_artifacts(run.run_id, path, name))
                same = sha256_hex(got.read_bytes()) == sha256
            except (OSError, _missing()):
                same = False
            if not same:
                changed.append(path)
    return changed


def _missing() -> type[Exception]:
    from mlflow.exceptions import MlflowException

    found: type[Exception] = MlflowException
    return found
