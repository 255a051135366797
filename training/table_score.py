"""``gearline score``: a bundle's tables over any CSV or Parquet; needs no training library."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE
from training.table_bundle import TableBundle
from training.table_lost import disagree, points_lost
from training.table_read import matrix, read_any, write_columns

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
BLOCK: Final = 65_536


def check_file_to_write(out: Path, *inputs: Path) -> None:
    """Refuse an output that is a folder or one of the inputs."""
    if out.is_dir():
        raise InputError(f"--out is {out}, a folder; name the CSV or Parquet file to write")
    if any(out.resolve() == i.resolve() for i in inputs):
        raise InputError(f"--out is {out}, which is read here; name another file")


def run_score(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``score``."""
    check_file_to_write(arguments.out, arguments.table)
    bundle = TableBundle.read(arguments.bundle)
    table = read_any(arguments.table)
    values = matrix(table, bundle.encoder, arguments.table)
    if arguments.lost and not arguments.explain:
        raise InputError("--lost goes with --explain: it stands beside the attributions")
    scores, parts, losses = [], [], []
    for start in range(0, len(values), BLOCK):
        columns = bundle.encoder.encode(values[start : start + BLOCK])
        if arguments.explain:
            score, phi = bundle.tables.score_and_attributions(columns)
            parts.append(bundle.encoder.by_feature(phi))
            if arguments.lost:
                losses.append(points_lost(bundle, values[start : start + BLOCK]))
        else:
            score = bundle.tables.score(columns)
        scores.append(score)
        stages("score", min(start + BLOCK, len(values)), len(values))
    score = np.concatenate(scores)
    probability = bundle.calibration.probability(score)
    # integers below 2**53 over 2**40 are exact doubles, so the written parts still sum exactly
    names = ["row", "log_odds", "probability"]
    out = [np.arange(len(score)), score / LOG_ODDS_ONE, probability]
    if arguments.explain:
        phi = np.concatenate(parts)
        names += ["phi:base", *(f"phi:{f.name}" for f in bundle.encoder.features)]
        out.append(np.full(len(score), bundle.tables.base_attribution / LOG_ODDS_ONE))
        out += [phi[:, k] / LOG_ODDS_ONE for k in range(phi.shape[1])]
    if arguments.lost:
        lost = np.concatenate(losses)
        apart = disagree(phi, lost)
        names += [*(f"lost:{f.name}" for f in bundle.encoder.features), "reasons_disagree"]
        out += [lost[:, k] / LOG_ODDS_ONE for k in range(lost.shape[1])]
        out.append(apart.astype(np.int64))
    write_columns(arguments.out, names, out)
    document = {
        "rows": len(score),
        "columns": names,
        "explained": bool(arguments.explain),
        "mean_probability": round(float(probability.mean()), 6),
        "bundle_sha256": bundle.sha256,
        "out": str(arguments.out),
    }
    if arguments.lost:
        document["reasons_disagree_share"] = round(float(apart.mean()), 6) if len(apart) else 0.0
    text = (
        f"{len(score):,} rows scored, mean probability {probability.mean():.4f};"
        f" {len(names)} columns written to {arguments.out}"
    )
    return 0, document, text
