"""The night's monitors: measured, written beside the run, their red ones on record."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.lake import write_atomically
from data_contracts.units import RATIO_ONE
from models.gate import Measured
from models.gate import measures as m
from models.gate.monitors import Light, closing, light, load_monitors, worst
from models.stability import SCORE, FrozenCells, psi_of_counts
from serving.ledger import Ledger, LedgerReader, Location
from serving.nightly.gate.night import Night
from serving.nightly.gate.study import Study, study
from serving.nightly.publishing.history import Run, history
from serving.overrides import in_force

MONITORS_FILE: Final = "monitors.json"
MONITORS_KIND: Final = "night_monitored"
_OLD_BUNDLE: Final = "the bundle was fitted before cells were kept; fit it again"


def _psi(cells: FrozenCells, counts: Any) -> Measured:
    index = psi_of_counts(cells.counts, counts)
    if index.value is None:
        return Measured(None, "nobody to count")
    chance = "" if index.by_chance is None else f"{index.by_chance:.4f} by chance"
    return Measured(math.ceil(index.value * RATIO_ONE), chance)


def lights_of(found: Study, overrides: int) -> list[Light]:
    """Every monitor's light on a studied night."""
    monitors, now = load_monitors(), found.now
    frozen = now.frozen
    lights = [
        light(
            monitors["score_psi_ratio"],
            _psi(frozen[SCORE], now.cells[SCORE]) if frozen else Measured(None, _OLD_BUNDLE),
        )
    ]
    for k, name in enumerate(now.bundle.names):
        csi = missing = Measured(None, _OLD_BUNDLE)
        if name in frozen:
            csi = _psi(frozen[name], now.cells[name])
            missing = _missing_rise(now, k, frozen[name])
        lights.append(light(monitors["feature_csi_ratio"], csi, name))
        lights.append(light(monitors["missing_ratio"], missing, name))
    return [
        *lights,
        light(monitors["night_psi_ratio"], found.measured["tier_psi_ratio"]),
        light(monitors["calibration_ratio"], _calibration(found)),
        light(
            monitors["override_ratio"],
            Measured(-(-overrides * RATIO_ONE // max(len(now), 1)), f"{overrides} of {len(now)}"),
        ),
    ]


def _missing_rise(now: Night, k: int, cells: FrozenCells) -> Measured:
    then = int(cells.counts[-1]) * RATIO_ONE // max(int(cells.counts.sum()), 1)
    share = int(now.missing[k]) * RATIO_ONE // max(len(now), 1)
    return Measured(
        max(share - then, 0), f"{share / RATIO_ONE:.1%} missing, then {then / RATIO_ONE:.1%}"
    )


def _calibration(found: Study) -> Measured:
    if found.labels is None:
        return Measured(None, "no labels have matured")
    return m.calibration(found.labels.predicted_e9, found.labels.defaulted)


def monitor_run(
    root: Path, where: Location, run: Run, found: Study | None = None
) -> dict[str, Any]:
    """Measure a run's monitors, write them beside it, record what is red and closes.

    ``found`` is the gate's study of the run, made here where it is left out.
    """
    with LedgerReader(where) as reader:
        studied = study(root, reader, run, history(reader)) if found is None else found
        lights = lights_of(studied, len(in_force(reader, run.effective_on)))
    closes = list(closing(lights))
    document = {
        "run_id": run.run_id,
        "as_of": str(run.finished["as_of"]),
        "against": None if studied.before is None else studied.before.run_id,
        "matured_run": None if studied.labels is None else studied.labels.run_id,
        "worst": worst(lights),
        "closes": closes,
        "monitors": [x.to_json() for x in lights],
    }
    write_atomically(
        root / "runs" / run.run_id / MONITORS_FILE,
        orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS),
    )
    sha256 = sha256_hex(canonical_bytes(document))
    body = {"run_id": run.run_id, "worst": document["worst"], "closes": closes, "sha256": sha256}
    with Ledger.open(where) as ledger:
        ledger.append(
            [{"kind": MONITORS_KIND, "body": body}], idempotency_keys=[f"monitors/{sha256}"]
        )
    return document


__all__ = ["MONITORS_FILE", "MONITORS_KIND", "lights_of", "monitor_run"]
