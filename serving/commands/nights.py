"""``reprice``, and the demo's nights: decide on whole books and record it."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts.errors import InputError
from data_contracts.lake import lake_info
from data_contracts.units import parse_day
from features.asof import BookHistory
from features.panel import load_panel
from models.bundle import Bundle
from models.margin.security import MarketHistory
from models.policy import PACK_NAMES, Pack, load_pack
from serving.commands.case_file import example_body
from serving.commands.places import (
    BUNDLE_FOLDER,
    CHECKPOINTS_FILE,
    KEPT_BUNDLES,
    KEY_FILE,
    Answer,
    Stages,
    ledger_at,
)
from serving.ledger import Ledger, LedgerUnavailableError, named
from serving.nightly import RunReport, reprice


@dataclass(frozen=True)
class Nights:
    """The demo's nights: their reports, one hash over all decisions, one example's body."""

    runs: tuple[RunReport, ...]
    decisions_sha256: str
    segments: tuple[Path, ...]
    example: dict[str, Any]


@contextmanager
def _writing(root: Path, given: str | None = None) -> Iterator[Ledger]:
    """The ledger, open for writing; once all went well what was added is signed for."""
    try:
        with Ledger.open(ledger_at(root, given), create=True) as ledger:
            before = ledger.head().size
            yield ledger
            if ledger.head().size > before or not (root / CHECKPOINTS_FILE).is_file():
                (root / KEY_FILE).parent.mkdir(parents=True, exist_ok=True)
                ledger.checkpoint(root / KEY_FILE, root / CHECKPOINTS_FILE)
    except LedgerUnavailableError as error:
        raise InputError(str(error)) from error


def decide_nights(
    root: Path,
    pack: Pack,
    bundle_path: str,
    histories: Sequence[BookHistory],
    nights: Sequence[dt.date],
    stages: Stages,
) -> Nights:
    """Re-price the book on each night in order, sealing every segment, and sign a checkpoint."""
    bundle = Bundle.read(root / bundle_path)
    markets = MarketHistory(histories[0].panel)
    digest = hashlib.sha256()
    runs = []
    with _writing(root) as ledger:
        for k, night in enumerate(nights):
            stages("decide", k, len(nights))
            run = reprice(
                root,
                night,
                histories=histories,
                markets=markets,
                bundle=bundle,
                bundle_path=bundle_path,
                pack=pack,
                ledger=ledger,
            )
            digest.update(bytes.fromhex(run.decisions_sha256))
            runs.append(run)
        stages("decide", len(nights), len(nights))
    segments = tuple(s for r in runs for s in r.segments)
    return Nights(tuple(runs), digest.hexdigest(), segments, example_body(root, runs[-1]))


def run_reprice(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``reprice``."""
    root: Path = arguments.lake
    as_of = parse_day(arguments.as_of, "--as-of")
    pack = pack_of_lake(lake_info(root).currency, arguments.policy)
    bundle_folder: Path = arguments.bundle or root / BUNDLE_FOLDER
    bundle = Bundle.read(bundle_folder)
    panel = load_panel(root)
    # refuse a wrong day before long work, and never record another than the one that was asked for
    session = panel.sessions[panel.session_index(np.datetime64(as_of))]
    if session != np.datetime64(as_of):
        raise InputError(f"{as_of} is no session of the market; the last one before is {session}")
    buckets = lake_info(root).buckets
    histories = []
    for bucket in range(buckets):
        histories.append(BookHistory.load(root, panel, bucket))
        stages("load", bucket + 1, buckets)

    def night(ledger: Ledger | None, bundle_path: str) -> RunReport:
        return reprice(
            root,
            as_of,
            histories=histories,
            markets=MarketHistory(panel),
            bundle=bundle,
            bundle_path=bundle_path,
            pack=pack,
            ledger=ledger,
            record=ledger_at(root, arguments.ledger),
            progress=lambda done, total: stages("decide", done, total),
        )

    if arguments.dry_run:
        run = night(None, "")
        done = "computed, nothing written"
    else:
        with _writing(root, arguments.ledger) as ledger:
            run = night(ledger, _inside(root, bundle_folder, bundle))
        where = named(ledger_at(root, arguments.ledger))
        done = f"were in {where} already; nothing added" if run.repeated else f"sealed in {where}"
    document = {
        "run_id": run.run_id,
        "as_of": run.as_of.isoformat(),
        "decisions": run.decisions,
        "decisions_sha256": run.decisions_sha256,
        "segments": [] if arguments.dry_run else [str(s) for s in run.segments],
        "dry_run": bool(arguments.dry_run),
        "repeated": run.repeated,
    }
    text = f"run {run.run_id}: {run.decisions:,} decisions {done}; sha256 {run.decisions_sha256}"
    return 0, document, text


def pack_of_lake(currency: str, name: str | None) -> Pack:
    """The named pack, else the one of the lake's currency."""
    if name is None:
        name = next((p for p in PACK_NAMES if load_pack(p).currency == currency), None)
    if name is None:
        raise InputError(
            f"the lake is in {currency}; the packs are {', '.join(PACK_NAMES)}, none in {currency}"
        )
    pack = load_pack(name)
    if pack.currency != currency:
        raise InputError(
            f"the lake is in {currency}, policy pack {name!r} in {pack.currency};"
            " leave --policy out to take the lake's"
        )
    return pack


def _inside(root: Path, folder: Path, bundle: Bundle) -> str:
    """The bundle's path relative to the lake; one from elsewhere is copied in under its hash."""
    try:
        return str(folder.resolve().relative_to(root.resolve()))
    except ValueError:
        kept = root / KEPT_BUNDLES / bundle.sha256[:16]
        bundle.write(kept)
        return str(kept.relative_to(root))
