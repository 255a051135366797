"""``bench features``: the tallies of trades against pandas, Polars and a bare scan of one lake."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def run(
    arguments: argparse.Namespace, stages: Callable[[str, int, int], None]
) -> tuple[int, dict[str, Any], str]:
    """``bench features``."""
    from training.bench.features.measure import bench_features, text_of

    document = bench_features(
        arguments.trades,
        arguments.clients,
        arguments.minutes,
        arguments.threads or 2,
        arguments.seed,
        stages,
    )
    return 0, document, text_of(document)
