"""Benchmarks anyone can run: ours against what a user would use instead, interleaved in one run.

Each benchmark is a module of its own, loaded when it is asked for; its ``run`` takes the parsed
arguments and a progress call-back and answers exit code, document and text.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any, Final

from data_contracts.errors import InputError

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]

BENCHMARKS: Final = (
    "accuracy",
    "attainable",
    "decide",
    "explain",
    "features",
    "frontier",
    "review",
    "serve",
    "stress",
    "structural",
    "truth",
)
"""Modules of this package that are benchmarks."""


def run_bench(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench NAME``."""
    if arguments.name not in BENCHMARKS:
        raise InputError(
            f"there is no benchmark {arguments.name!r}; there are: {', '.join(BENCHMARKS)}"
        )
    module = importlib.import_module(f"training.bench.{arguments.name}")
    answer: Answer = module.run(arguments, stages)
    return answer
