"""``bench reprice``: a night over a whole book, against what a competent user would write instead.

Ours is the command that a user runs, start to end, in processes of its own, on all clients; the
rivals run on whole buckets of the same lake, in the same run, and are scaled by clients. Every
ratio says on how many clients the rival ran.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from data_contracts.errors import InputError
from training.bench.reprice.measure import Stages, bench_reprice
from training.bench.reprice.sheet import text_of

Answer = tuple[int, dict[str, Any], str]
CLIENTS: Final = 50_000
"""What fits in ten minutes on two cores, rivals and the book's making included."""
PRICE: Final = 0.10
WINDOW_HOURS: Final = 4.0
FOUND: Final = 1


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench reprice``."""
    if arguments.books_only and arguments.out is None:
        raise InputError("--books-only makes the books in a folder; name it with --out")
    d = bench_reprice(
        clients=arguments.clients or CLIENTS,
        slice_clients=arguments.slice,
        threads=arguments.threads,
        seed=arguments.seed,
        price=PRICE if arguments.price is None else arguments.price,
        window_hours=WINDOW_HOURS if arguments.window_hours is None else arguments.window_hours,
        folder=arguments.out,
        stages=stages,
        books_only=arguments.books_only,
    )
    if arguments.books_only:
        return 0, d, f"books of {', '.join(f'{n:,}' for n in d['books'])} clients in {d['out']}"
    whole = d["one_decision_a_client"] and d["rivals_agree"]
    return (0 if whole else FOUND), d, text_of(d)
