"""``reprice``, and the demo's nights: decide on whole books and record it."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import lake_info
from data_contracts.units import parse_day
from features.asof import BookHistory
from features.panel import load_panel
from models.bundle import KEPT_FOLDER, Bundle, kept_bundle
from models.lifecycle import CHALLENGER, Lineup
from models.margin.security import MarketHistory
from models.policy import PACK_NAMES, Pack, load_pack, refuse_contracts
from serving.approved import pack_in_force
from serving.commands.case_file import example_body
from serving.commands.places import (
    BUNDLE_FOLDER,
    CHECKPOINTS_FILE,
    KEY_FILE,
    Answer,
    Stages,
    ledger_at,
)
from serving.ledger import (
    Ledger,
    LedgerReader,
    LedgerUnavailableError,
    Location,
    exists,
    named,
)
from serving.lineup import night_lineup
from serving.nightly import RunReport, reprice
from serving.nightly.beside import Rival
from serving.nightly.embedded import Embedded
from serving.nightly.firm import effective_date
from serving.nightly.store import Store

ACCOUNTS_A_WORKER: Final = 20_000
"""So many accounts make a worker process worth its start."""


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
    store = Store(arguments.lake)
    root = store.market()
    as_of = parse_day(arguments.as_of, "--as-of")
    pack = pack_of_lake(lake_info(root).currency, arguments.policy)
    panel = load_panel(root, known_by=as_of)
    # refuse a wrong day before long work, and never record another than the one that was asked for
    session = panel.sessions[panel.session_index(np.datetime64(as_of))]
    if session != np.datetime64(as_of):
        raise InputError(f"{as_of} is no session of the market; the last one before is {session}")
    home, where = _ledger_of(store, arguments.ledger)
    day = effective_date(panel, panel.session_index(session))
    lineup = night_lineup(root, where, as_of, _begins(pack, day))
    approved = _approved(root, where, pack, day)
    if arguments.policy is None and approved is not None:
        pack = approved
    bundle_folder = _deciding(root, arguments.bundle, lineup)
    bundle = Bundle.read(bundle_folder)
    others = _beside(root, arguments.challenger, lineup, bundle)

    def night(ledger: Ledger | None, bundle_path: str, rivals: Sequence[Rival]) -> RunReport:
        with engine_of(arguments, root) as engine:
            return reprice(
                store.where,
                as_of,
                markets=MarketHistory(panel),
                bundle=bundle,
                bundle_path=bundle_path,
                bundle_folder=None if bundle_path else bundle_folder.resolve(),
                pack=pack,
                ledger=ledger,
                record=where,
                progress=stages,
                engine=engine,
                must_resume=arguments.resume,
                rivals=rivals,
            )

    if arguments.dry_run:
        run = night(None, "", [Rival(r, b.sha256, str(at.resolve())) for r, at, b in others])
        done = "computed, nothing written"
    else:
        with _writing(home, str(where)) as ledger:
            rivals = [Rival(r, b.sha256, _inside(store, at, b)) for r, at, b in others]
            run = night(ledger, _inside(store, bundle_folder, bundle), rivals)
        done = f"sealed in {named(where)}"
        if run.repeated:
            done = f"were in {named(where)} already; nothing added"
    champion = lineup.champion
    if champion is not None and champion.bundle_sha256 != bundle.sha256:
        champion = None
    document = {
        "run_id": run.run_id,
        "as_of": run.as_of.isoformat(),
        "decisions": run.decisions,
        "decisions_sha256": run.decisions_sha256,
        "segments": [] if arguments.dry_run else [str(s) for s in run.segments],
        "dry_run": bool(arguments.dry_run),
        "repeated": run.repeated,
        "resumed_buckets": run.resumed,
        "held": run.held,
        "bundle_sha256": bundle.sha256,
        "review_on": None if champion is None else champion.review_on.isoformat(),
        "beside": [{"role": r["role"], "bundle_sha256": r["bundle"]} for r in run.beside],
        "cpu_seconds_by_stage": {k: round(v, 3) for k, v in run.seconds.items()},
        "peak_rss_mb": run.peak_rss_mb,
    }
    text = f"run {run.run_id}: {run.decisions:,} decisions {done}; sha256 {run.decisions_sha256}"
    if run.held:
        text += f"\n{run.held:,} clients could not be decided on and keep their limit: held.parquet"
    text += "".join(
        f"\n{r['role']} {r['bundle'][:16]} decided beside it, on nobody" for r in run.beside
    )
    if champion is not None and champion.past_review(day):
        text += f"\nthe champion was to be reviewed by {champion.review_on}"
    return 0, document, text


def _begins(pack: Pack, day: dt.date) -> dt.datetime:
    """When a day begins in the market's own time: what is in force then decides its night."""
    return dt.datetime.combine(day, dt.time(), ZoneInfo(pack.zone))


def _deciding(root: Path, given: Path | None, lineup: Lineup) -> Path:
    """The bundle that decides: the one that was named, else the champion, else the lake's own."""
    if given is not None:
        return given
    if lineup.champion is None:
        return root / BUNDLE_FOLDER
    return kept_bundle(root, lineup.champion.bundle_sha256)


def _beside(
    root: Path, given: Sequence[Path], lineup: Lineup, deciding: Bundle
) -> list[tuple[str, Path, Bundle]]:
    """Role, folder and bundle of those beside it: who was named, else the ledger's line-up."""
    if given:
        return [(CHALLENGER, folder, Bundle.read(folder)) for folder in given]
    found = []
    for placed in lineup.beside:
        if placed.bundle_sha256 != deciding.sha256:
            folder = kept_bundle(root, placed.bundle_sha256)
            found.append((placed.role, folder, Bundle.read(folder)))
    return found


def _approved(root: Path, where: Location, pack: Pack, day: dt.date) -> Pack | None:
    """The pack that people's approvals bring into force when a day begins; None where none was."""
    if not exists(where):
        return None
    with LedgerReader(where) as reader:
        return pack_in_force(root, reader, pack.name, _begins(pack, day))


def _ledger_of(store: Store, given: str | None) -> tuple[Path, Location]:
    """The ledger, and the folder for its key and checkpoints: never in object storage."""
    if not store.remote:
        return store.root, ledger_at(store.root, given)
    if given is None:
        raise InputError(
            f"{store.named} is object storage, where no ledger can lie: name one with --ledger"
            " FILE or --ledger postgresql://..."
        )
    where = ledger_at(Path(), given)
    return (where.parent if isinstance(where, Path) else Path()), where


def engine_of(arguments: argparse.Namespace, root: Path) -> Embedded | Any:
    """The engine that was asked for; Ray is loaded only then."""
    if arguments.address is not None and arguments.engine != "ray":
        raise InputError("--address names a Ray cluster; add --engine ray")
    cores = arguments.threads or os.cpu_count() or 1
    if arguments.engine == "ray":
        from serving.nightly.on_ray import OnRay

        return OnRay(arguments.address, cores)
    # starting a worker costs seconds; a small book is decided on before it is there
    worth = max(1, _accounts(root) // ACCOUNTS_A_WORKER)
    return Embedded(cores if arguments.threads else min(cores, worth))


def _accounts(root: Path) -> int:
    """Rows of the table of accounts, from the files' own statistics."""
    return sum(pq.read_metadata(f).num_rows for f in (root / "accounts").rglob("*.parquet"))


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
    refuse_contracts(pack, "a night")
    return pack


def _inside(store: Store, folder: Path, bundle: Bundle) -> str:
    """The bundle's path relative to the lake; one from elsewhere is copied in under its hash."""
    try:
        return str(folder.resolve().relative_to(store.market().resolve()))
    except ValueError:
        kept = f"{KEPT_FOLDER}/{bundle.sha256[:16]}"
        if not store.remote:
            bundle.write(store.root / kept)
            return kept
        with tempfile.TemporaryDirectory(prefix="gearline-bundle-") as name:
            bundle.write(Path(name))
            for path in sorted(p for p in Path(name).rglob("*") if p.is_file()):
                store.put(f"{kept}/{path.relative_to(name)}", path.read_bytes())
        return kept
