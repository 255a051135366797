"""A small laboratory lake with a bundle, made once a session for tests of whole nights."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from training.bench.reprice.made import make_book, make_scorer, nights_of

CLIENTS = 600
SEED = 11


def make_lake(folder: Path) -> tuple[Path, tuple[dt.date, dt.date]]:
    """The lake, and its last two sessions but one."""
    lake = folder / "lake"
    make_book(lake, CLIENTS, SEED, lambda done, total: None)
    nights = nights_of(lake)
    make_scorer(lake, nights[1], SEED, lake / "bundle", folder / "model.txt")
    return lake, nights
