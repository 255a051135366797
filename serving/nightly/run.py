"""One night: first pass, snapshot, decisions bucket by bucket, sealed in the ledger."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_contracts.case import Override
from data_contracts.decision import DECISION_ENGINE_VERSION
from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, FloatArray, IntArray
from features.asof import BookHistory
from models.bundle import Bundle
from models.margin.security import FirmTerms, MarketHistory
from models.policy import Pack, Policy
from serving.ledger import Ledger, LedgerReader, Location, exists
from serving.nightly.beside import Rival, bundle_at, check_named, check_rivals
from serving.nightly.crowding import with_crowding
from serving.nightly.embedded import Embedded
from serving.nightly.firm import (
    date_of,
    effective_date,
    firm_capital,
    firm_terms,
    funding_bps,
    tail_risk,
    tier_shifts,
)
from serving.nightly.previous import (
    MARKET_FOLDER,
    RUNS_FOLDER,
    LastNight,
    find_strangers,
    last_margins,
    last_night,
)
from serving.nightly.record import check_same, recorded
from serving.nightly.sealing import Engine, Progress, Spent, by_bucket, decide_and_seal
from serving.nightly.store import Store
from serving.nightly.tasks import (
    FIRST_FOLDER,
    FirstAnswer,
    Inputs,
    SecondAnswer,
    Work,
    first_of,
    first_task,
    second_of,
    second_task,
)
from serving.overrides import in_force

UNSHIFTED: Final = "market"
"""The snapshot that the first pass works on, below its own folder."""


@dataclass(frozen=True)
class RunReport:
    """What a night did. ``decisions_sha256`` is over all decision hashes in bucket and row order.

    Attributes
    ----------
    repeated : the night was on record already and nothing was added
    resumed : buckets that were sealed before, by a run that was broken off
    held : clients that could not be decided on and keep their limit
    beside : role and bundle of each model that decided beside the champion, on nobody
    seconds : processor seconds by stage, summed over the workers
    peak_rss_mb : the most memory that one worker took
    """

    run_id: str
    as_of: dt.date
    decisions: int
    decisions_sha256: str
    segments: tuple[Path, ...]
    market_sha256: str
    repeated: bool = False
    resumed: int = 0
    held: int = 0
    beside: tuple[dict[str, str], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    peak_rss_mb: int = 0


def run_name(as_of: dt.date, bundle: Bundle, pack: Pack) -> str:
    """The run's name: the same inputs give the same run, so a repeated night doubles nothing."""
    return f"{as_of.isoformat()}-{bundle.sha256[:8]}-{pack.sha256[:8]}"


def _report(
    where: str, started: dict[str, Any], finished: dict[str, Any], **more: Any
) -> RunReport:
    # in object storage the segments are named from the lake's own address
    base = Path() if "://" in where else Path(where)
    return RunReport(
        run_id=finished["run_id"],
        as_of=dt.date.fromisoformat(finished["as_of"]),
        decisions=finished["decisions"],
        decisions_sha256=finished["decisions_sha256"],
        segments=tuple(base / s for s in finished["segments"]),
        market_sha256=started["market"],
        held=finished.get("held", 0),
        beside=tuple(started.get("beside", ())),
        **more,
    )


@dataclass
class _Terms:
    """The sums of the first pass over the whole book."""

    risk_bps: IntArray = field(default_factory=lambda: np.zeros(7, dtype=np.int64))
    clients: IntArray = field(default_factory=lambda: np.zeros(7, dtype=np.int64))
    sale_shares: IntArray | None = None
    path_loss: IntArray | None = None
    hashes: list[IntArray] = field(default_factory=list)
    strangers: dict[int, list[str]] = field(default_factory=dict)

    def add(self, answer: FirstAnswer) -> None:
        self.risk_bps += answer.risk_bps
        self.clients += answer.clients
        sale = answer.sale_shares
        self.sale_shares = sale if self.sale_shares is None else self.sale_shares + sale
        lost = answer.path_loss
        self.path_loss = lost if self.path_loss is None else self.path_loss + lost
        self.hashes.append(answer.clients_sha64)
        self.strangers[answer.bucket] = answer.strangers

    def check_once(self) -> None:
        """One decision a client: none may be in two buckets."""
        found, count = np.unique(np.concatenate(self.hashes), return_counts=True)
        if len(found) and int(count.max()) > 1:
            raise InputError(
                f"{int((count > 1).sum())} clients have open accounts in more than one bucket; a"
                " client is decided on once: move all rows of each into the bucket of its group"
            )


@contextmanager
def _scratch(where: str, dry_run: bool) -> Iterator[str]:
    """Where the first pass leaves its rows: the lake, or a folder of a dry run's own."""
    if not dry_run:
        yield where
        return
    with tempfile.TemporaryDirectory(prefix="gearline-dry-run-") as folder:
        yield folder


def _snapshot(
    markets: MarketHistory,
    t: int,
    policy: Policy,
    root: Path,
    firm: FirmTerms,
    sale: IntArray | None,
    last: LastNight | None,
    margins: FloatArray | None,
) -> MarketSnapshot:
    """The market of the session; ``sale`` counts only where volumes are known to sell against.

    ``margins`` are the last night's, which the anti-procyclical layer goes on from.
    """
    day = date_of(markets.panel.sessions[t])
    volumes = bool((markets.panel.volume_shares[: t + 1] != NULL).any())
    shares = sale.astype(np.float64) if sale is not None and volumes else None
    made = markets.snapshot(
        t, policy, firm, funding_bps(root, day), previous=margins,
        sessions=1 if last is None else last.sessions, sale_shares=shares,
    )  # fmt: skip
    return with_crowding(made, root, policy)


def reprice(
    lake: Path | str,
    as_of: dt.date,
    *,
    markets: MarketHistory,
    bundle: Bundle,
    bundle_path: str,
    pack: Pack,
    ledger: Ledger | None,
    histories: Sequence[BookHistory] | None = None,
    record: Location | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
    bundle_folder: Path | None = None,
    must_resume: bool = False,
    rivals: Sequence[Rival] = (),
) -> RunReport:
    """Decide on every client of the lake as of a session.

    Parameters
    ----------
    lake : the folder, or an address such as ``s3://bucket/lake``
    markets : the prices known at the session's cut-off
    bundle_path : where the bundle lies, relative to the lake, for replay
    ledger : None computes everything and writes nothing (a dry run)
    histories : the lake's buckets, in order, where they are in memory already; else each is read
        when its turn comes, so that memory is that of the buckets being worked on
    record : the ledger that a dry run takes the previous decisions from
    engine : None works in this process
    bundle_folder : where workers read the bundle, if it lies outside the lake
    must_resume : refuse to begin a night; only go on with one
    rivals : challengers and shadows: they decide on every client beside the bundle, on nobody

    Notes
    -----
    A night that is already recorded is not decided again. One that was broken off goes on after its
    last sealed bucket, and from what its first pass left.

    Raises
    ------
    InputError
        If the session, the pack's dates or the inputs do not fit together.
    """
    store, panel = Store(lake), markets.panel
    root = store.market()
    t = panel.session_index(np.datetime64(as_of))
    session = date_of(panel.sessions[t])
    policy = pack.on(effective_date(panel, t))
    run_id = run_name(session, bundle, pack)
    place = f"{RUNS_FOLDER}/{run_id}"
    known = recorded(record if ledger is None else ledger.where, run_id, session)
    if ledger is not None and known.started is not None and known.finished is not None:
        store.remove(f"{place}/{FIRST_FOLDER}")
        check_named(known.finished, known.started, rivals)
        return _report(store.where, known.started, known.finished, repeated=True)
    if must_resume and known.started is None and not store.listing(f"{place}/{FIRST_FOLDER}"):
        raise InputError(f"run {run_id} has not begun; leave --resume out to begin it")
    beside = tuple(bundle_at(root, r.folder) for r in rivals)
    check_rivals(bundle, list(zip(rivals, beside, strict=True)))
    buckets = range(store.info().buckets if histories is None else len(histories))
    firm = firm_terms(root, session, policy)
    spent = Spent()
    with _scratch(store.where, ledger is None) as scratch:
        last = last_night(known.last, panel, session)
        margins = last_margins(store, last, panel.symbols)
        unshifted = _snapshot(markets, t, policy, root, firm, None, last, margins)
        where = record if ledger is None else ledger.where
        overrides: dict[str, Override] = {}
        # fixed when the night begins: what is approved while it runs binds in the next one
        seen = known.overrides_before
        if where is not None and exists(where):
            with LedgerReader(where) as reader:
                seen = reader.size() if seen is None else seen
                overrides = in_force(reader, policy.effective_on, seen)
        work = Work(
            where=store.where,
            place=place,
            scratch=scratch,
            run_id=run_id,
            as_of=session,
            bundle=str(bundle_folder) if bundle_folder is not None else bundle_path,
            bundle_sha256=bundle.sha256,
            policy=policy,
            market=f"{place}/{FIRST_FOLDER}/{UNSHIFTED}",
            market_sha256=unshifted.sha256,
            last=last,
            overrides=overrides,
            write=ledger is not None,
            rivals=tuple(rivals),
        )
        run = engine or Embedded(1)
        inside = isinstance(run, Embedded) and run.workers == 1
        load = _loader(store, markets, histories)
        if not inside:
            _put_market(Store(scratch), work.market, unshifted)
        one = partial(_first_here, Inputs(panel, bundle, unshifted, load)) if inside else first_task
        terms = _Terms()
        for done, answer in enumerate(run.map(one, [(work, b) for b in buckets])):
            terms.add(answer)
            spent.add(answer)
            if progress:
                progress("first pass", done + 1, len(buckets))
        terms.check_once()
        tail, es = firm_capital(unshifted.paths, policy, terms.path_loss)
        firm = replace(
            firm,
            tier_shift_bps=tier_shifts(
                terms.risk_bps + tail_risk(unshifted.paths, policy, terms.path_loss, tail),
                terms.clients,
            ),
        )
        market = replace(
            _snapshot(markets, t, policy, root, firm, terms.sale_shares, last, margins),
            tail_weight=tail,
        )
        if ledger is not None:
            started = {
                "run_id": run_id,
                "as_of": session.isoformat(),
                "effective_on": policy.effective_on.isoformat(),
                "engine_version": DECISION_ENGINE_VERSION,
                "bundle": bundle.sha256,
                "bundle_path": known.started["bundle_path"] if known.started else bundle_path,
                "policy": pack.name,
                "policy_sha256": policy.sha256,
                "feature_set": bundle.feature_set_sha256,
                "market": market.sha256,
                **({} if es is None else {"expected_shortfall_amt": es}),
                "previous_run": None if known.last is None else known.last["run_id"],
                "overrides_before": seen,
                **({"beside": [r.to_json() for r in rivals]} if rivals else {}),
            }
            check_same(known.started, started)
            ledger.append(
                [{"kind": "run_started", "body": started}], idempotency_keys=[f"started/{run_id}"]
            )
            # after the entry: a changed market never overwrites the one that was decided on
            _put_market(store, f"{place}/{MARKET_FOLDER}", market)
        elif not inside:
            _put_market(Store(scratch), f"{place}/{MARKET_FOLDER}", market)
        work = replace(work, market=f"{place}/{MARKET_FOLDER}", market_sha256=market.sha256)
        wanted = [c for ids in terms.strangers.values() for c in ids]
        extra = None if last is None else find_strangers(store, last, wanted)
        two = (
            partial(_second_here, Inputs(panel, bundle, market, load, beside))
            if inside
            else second_task
        )
        counted = int(terms.clients.sum())
        finished, resumed = decide_and_seal(
            store, work, buckets, ledger, run, two,
            by_bucket(terms.strangers, extra), counted, spent, progress,
        )  # fmt: skip
    if ledger is not None:
        ledger.append(
            [{"kind": "run_finished", "body": finished}], idempotency_keys=[f"finished/{run_id}"]
        )
        store.remove(f"{place}/{FIRST_FOLDER}")
    as_begun = {"market": market.sha256, "beside": [r.to_json() for r in rivals]}
    return _report(
        store.where, as_begun, finished, resumed=resumed,
        seconds=spent.seconds, peak_rss_mb=spent.peak_rss_mb,
    )  # fmt: skip


def _first_here(inputs: Inputs, task: tuple[Work, int]) -> FirstAnswer:
    return first_of(task[0], inputs, task[1])


def _second_here(inputs: Inputs, task: tuple[Work, int, pa.Table | None]) -> SecondAnswer:
    return second_of(task[0], inputs, task[1], task[2])


def _loader(
    store: Store, markets: MarketHistory, histories: Sequence[BookHistory] | None
) -> Callable[[int], BookHistory]:
    def load(bucket: int) -> BookHistory:
        if histories is not None:
            return histories[bucket]
        with store.bucket(bucket) as folder:
            return BookHistory.load(folder, markets.panel, bucket)

    return load


def _put_market(store: Store, place: str, market: MarketSnapshot) -> None:
    """Write a snapshot; ``market.json`` last, so that a half-written one is none."""
    if not store.remote:
        market.write(store.root / place)
        return
    for name, data in market.files.items():
        store.put(f"{place}/{name}", data)
    store.put(f"{place}/market.json", market.manifest)
