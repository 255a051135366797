"""One bucket's work with its reading and writing: what the engines hand out.

A task names everything by place and hash, so that a worker on another machine finds the same; what
it loads once serves all of its buckets. What the first pass leaves lies in the run's folder until
the night is finished: a run that was killed goes on from it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import resource
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from data_contracts.case import Override
from data_contracts.decision import DECISION_ENGINE_VERSION, decision_id
from data_contracts.errors import InputError
from data_contracts.lake import decimal_array
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, IntArray, format_decimal
from features.asof import BookHistory
from features.calendar import cut_off
from features.panel import PricePanel, load_panel
from models.bundle import Bundle
from models.decide.columns import losses_from_arrays, losses_to_arrays
from models.policy import Policy
from serving.nightly.beside import Beside, Rival, bundle_at, decide_beside, file_of
from serving.nightly.partition import FirstPass, Held, Timer, first_pass, score_partition
from serving.nightly.previous import LastNight, before_of, published, strangers
from serving.nightly.rows import NightRows
from serving.nightly.segments import HELD_FILE, parquet_bytes, segment_files
from serving.nightly.store import Store

T = TypeVar("T")
FIRST_FOLDER: Final = "first"


@dataclass(frozen=True)
class Work:
    """A night, as every worker must know it.

    Attributes
    ----------
    where, place : the lake, and the run's folder in it
    scratch : where the first pass's rows lie: the lake, or a folder of a dry run
    bundle : the bundle's folder, in the lake or on this machine
    market, market_sha256 : the snapshot's folder below ``scratch``, or below the lake
    overrides : by client, people's limits that bind when the decisions take effect
    write : whether segments are written; a dry run writes none
    rivals : who decides beside the champion, on nobody
    """

    where: str
    place: str
    scratch: str
    run_id: str
    as_of: dt.date
    bundle: str
    bundle_sha256: str
    policy: Policy
    market: str
    market_sha256: str
    last: LastNight | None
    overrides: dict[str, Override]
    write: bool
    rivals: tuple[Rival, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """What a worker has loaded: panel, bundles, market, and how it gets a bucket's history."""

    panel: PricePanel
    bundle: Bundle
    market: MarketSnapshot
    load: Callable[[int], BookHistory]
    beside: tuple[Bundle, ...] = ()


@dataclass(frozen=True)
class FirstAnswer:
    """What the first pass tells of a bucket; ``clients_sha64`` to find one that is in two."""

    bucket: int
    risk_bps: IntArray
    clients: IntArray
    sale_shares: IntArray
    path_loss: IntArray
    clients_sha64: IntArray
    strangers: list[str]
    seconds: dict[str, float]
    peak_rss_mb: int


@dataclass(frozen=True)
class SecondAnswer:
    """What is decided of a bucket: the hash of every row in order, and the held clients.

    ``beside`` is what challengers and shadows decided of it.
    """

    bucket: int
    digests: list[bytes]
    held: list[dict[str, object]]
    written: int
    seconds: dict[str, float]
    peak_rss_mb: int
    beside: tuple[Beside, ...] = ()


_LOADED: dict[tuple[str, ...], object] = {}


def _once(key: tuple[str, ...], make: Callable[[], T]) -> T:
    """What was loaded before under this key; of each kind the last is kept."""
    if key not in _LOADED:
        for old in [k for k in _LOADED if k[0] == key[0]]:
            del _LOADED[old]
        _LOADED[key] = make()
    return _LOADED[key]  # type: ignore[return-value]


def inputs_of(work: Work) -> Inputs:
    """Load what a task needs, once in a process."""
    store = Store(work.where)

    def market() -> MarketSnapshot:
        held = Store(work.scratch)
        files = [f for f, _, _ in held.listing(work.market)]
        with held.base_with(*files) as base:
            return MarketSnapshot.read(base / work.market)

    def bundle() -> Bundle:
        inside = store.market() / work.bundle
        return Bundle.read(inside if inside.is_dir() else Path(work.bundle))

    def panel() -> PricePanel:
        return load_panel(store.market(), known_by=work.as_of)

    known = _once(("panel", work.where, work.as_of.isoformat()), panel)
    loaded = _once(("bundle", work.bundle_sha256), bundle)
    if loaded.sha256 != work.bundle_sha256:
        raise InputError(f"{work.bundle} changed while the night ran; restore it")

    def load(bucket: int) -> BookHistory:
        with store.bucket(bucket) as folder:
            return BookHistory.load(folder, known, bucket)

    def rivals() -> tuple[Bundle, ...]:
        return tuple(bundle_at(store.market(), r.folder) for r in work.rivals)

    hashes = tuple(r.bundle_sha256 for r in work.rivals)
    beside = _once(("beside", *hashes), rivals)
    if tuple(b.sha256 for b in beside) != hashes:
        raise InputError("a challenger's bundle changed while the night ran; restore it")
    snapshot = _once(("market", work.market_sha256), market)
    return Inputs(known, loaded, snapshot, load, beside)


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _fingerprint(work: Work, inputs: Inputs, bucket: int) -> str:
    """A hash of all that the first pass's rows depend on: a changed table is worked out again."""
    store = Store(work.where)
    shared = _once(("shared", work.where, work.run_id), lambda: store.shared_files())
    parts = [
        DECISION_ENGINE_VERSION, work.run_id, work.bundle_sha256, inputs.bundle.feature_set_sha256,
        work.market_sha256, work.policy.sha256, repr(shared), repr(store.bucket_files(bucket)),
    ]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _kept(work: Work, bucket: int) -> str:
    return f"{work.place}/{FIRST_FOLDER}/bucket={bucket:03d}.npz"


def _hashes(client_ids: list[str]) -> IntArray:
    found = b"".join(hashlib.sha256(c.encode()).digest()[:8] for c in client_ids)
    return np.frombuffer(found, dtype=np.int64)


def keep_first(work: Work, bucket: int, first: FirstPass, fingerprint: str) -> None:
    """Put a bucket's rows away until its decisions are made."""
    held = [(h.client_id, h.account_id, str(h.hard_amt), h.why) for h in first.held]
    data = first.rows.to_bytes(
        own_tier=first.own_tier, **losses_to_arrays(first.losses),
        risk_bps=first.risk_bps, clients=first.clients, sale_shares=first.sale_shares,
        path_loss=first.path_loss,
        held=np.array(held, dtype=np.str_).reshape(len(held), 4),
        fingerprint=np.array(fingerprint),
    )  # fmt: skip
    Store(work.scratch).put(_kept(work, bucket), data, durable=False)


def kept_first(work: Work, bucket: int, fingerprint: str | None = None) -> FirstPass | None:
    """What was put away; None where there is nothing, it is cut short or of other inputs."""
    data = Store(work.scratch).get(_kept(work, bucket))
    if data is None:
        return None
    try:
        rows, m = NightRows.from_bytes(data)
    except (ValueError, OSError, KeyError, EOFError):
        return None
    if fingerprint is not None and str(m["fingerprint"]) != fingerprint:
        return None
    held = tuple(Held(c, a, int(h), w) for c, a, h, w in m["held"].tolist())
    names = ("own_tier", "risk_bps", "clients", "sale_shares", "path_loss")
    kept = {n: m[n] for n in names}
    return FirstPass(rows=rows, held=held, losses=losses_from_arrays(m), **kept)


def first_of(work: Work, inputs: Inputs, bucket: int) -> FirstAnswer:
    """The first pass of a bucket, its rows put away; none of it again after a kill."""
    timer = Timer()
    fingerprint = _fingerprint(work, inputs, bucket)
    first = kept_first(work, bucket, fingerprint)
    if first is None:
        history = inputs.load(bucket)
        timer("read")
        first = first_pass(history, work.as_of, inputs.bundle, work.policy, inputs.market, timer)
        keep_first(work, bucket, first, fingerprint)
    timer("keep")
    everyone = [*first.rows.client_ids, *(h.client_id for h in first.held)]
    unknown: list[str] = []
    if work.last is not None:
        unknown = everyone
        if bucket < len(work.last.segments):
            unknown = strangers(Store(work.where), work.last.segments[bucket], everyone)
    timer("previous")
    return FirstAnswer(
        bucket, first.risk_bps, first.clients, first.sale_shares, first.path_loss,
        _hashes(everyone), unknown, timer.seconds, _peak_mb(),
    )  # fmt: skip


def second_of(work: Work, inputs: Inputs, bucket: int, extra: pa.Table | None) -> SecondAnswer:
    """The decisions of a bucket, written. ``extra`` has rows of clients from other buckets."""
    timer = Timer()
    first = kept_first(work, bucket)
    if first is None:
        raise InputError(
            f"{Store(work.scratch).named}/{_kept(work, bucket)} is missing or damaged;"
            " run the night again"
        )
    timer("keep")
    store, table = Store(work.where), extra
    if work.last is not None and bucket < len(work.last.segments):
        own = published(store, work.last.segments[bucket])
        table = own if extra is None else pa.concat_tables([own, extra]).combine_chunks()
    before, _ = before_of(work.last, table, first.rows.client_ids)
    timer("previous")
    known_at = cut_off(work.as_of, inputs.panel.mic)
    made = score_partition(
        first, before, work.overrides, inputs.bundle, work.policy, inputs.market,
        run_id=work.run_id,
        currency=inputs.panel.currency,
        known_at=known_at.astype("datetime64[us]").item().replace(tzinfo=dt.UTC), timer=timer,
    )  # fmt: skip
    files, decided = segment_files(made)
    digests = decided["decision_sha256"].to_pylist()
    held: list[dict[str, object]] = []
    if first.held:
        held_rows = held_table(work, first.held, table)
        held = [
            {"client_id": r["client_id"], "decision_id": r["decision_id"],
             "max_debt_amt": format_decimal(int(r["max_debt_amt"] * 100), 2), "why": r["why"]}
            for r in held_rows.to_pylist()
        ]  # fmt: skip
        files = {HELD_FILE: parquet_bytes(held_rows), **files}
    timer("segment")
    if work.write:
        for name, data in files.items():
            store.put(f"{work.place}/bucket={bucket:03d}/{name}", data)
    timer("write")
    size = sum(len(data) for data in files.values())
    beside = []
    for rival, bundle in zip(work.rivals, inputs.beside, strict=True):
        data, rows = decide_beside(
            bundle, first, before, work.overrides, work.policy, inputs.market,
            run_id=work.run_id, currency=inputs.panel.currency,
            known_at=known_at.astype("datetime64[us]").item().replace(tzinfo=dt.UTC),
        )  # fmt: skip
        name = file_of(work.place, rival.bundle_sha256, bucket)
        if work.write:
            store.put(name, data)
        beside.append(Beside(rival, name, hashlib.sha256(data).hexdigest(), rows))
        timer("beside")
    return SecondAnswer(bucket, digests, held, size, timer.seconds, _peak_mb(), tuple(beside))


def held_table(work: Work, held: tuple[Held, ...], published_rows: pa.Table | None) -> pa.Table:
    """The held clients: each keeps the smaller of its last published and today's hard limit.

    A client that nothing was published of keeps nothing, and a person's limit binds. The terms of
    the last decision are carried on, so that the next night's steps refer to them.
    """
    ids = [h.client_id for h in held]
    # the months and quarters are counted again by the next night, from the same decision
    same = None if work.last is None else replace(work.last, same_month=True, same_quarter=True)
    before, limit = before_of(same, published_rows, ids)
    hard = np.array([h.hard_amt for h in held], dtype=np.int64)
    cap = np.where(limit == NULL, 0, np.minimum(limit, hard))
    for k, client in enumerate(ids):
        if client in work.overrides:
            cap[k] = min(int(cap[k]), work.overrides[client].max_debt_amt)
    n = len(held)

    def carried(name: str) -> IntArray:
        return np.where(before.known, before.columns[name], NULL)

    def integers(values: IntArray) -> pa.Array:
        return pa.array(np.where(values == NULL, 0, values), mask=values == NULL)

    names = ("rate_bps", "tier", "candidate_tier", "candidate_sessions", "month_change_bps")
    return pa.table(
        {
            "decision_id": [decision_id(work.run_id, c, work.as_of.isoformat()) for c in ids],
            "client_id": pa.array(ids, pa.string()),
            "account_id": pa.array([h.account_id for h in held], pa.string()),
            "as_of": pa.array([work.as_of] * n, pa.date32()),
            "effective_on": pa.array([work.policy.effective_on] * n, pa.date32()),
            "outcome": pa.array(["refer"] * n, pa.string()),
            "stale": pa.array([True] * n),
            "max_debt_amt": decimal_array(cap, 2),
            "why": pa.array([h.why for h in held], pa.string()),
            "soft_cap_amt": decimal_array(carried("soft_cap_amt"), 2),
            **{name: integers(carried(name)) for name in (*names, "quarter_changes")},
            "waited": integers(np.where(before.known, before.columns["sessions_since"], 0)),
        }
    )


def first_task(task: tuple[Work, int]) -> FirstAnswer:
    """``first_of`` for a worker process."""
    work, bucket = task
    return first_of(work, inputs_of(work), bucket)


def second_task(task: tuple[Work, int, pa.Table | None]) -> SecondAnswer:
    """``second_of`` for a worker process."""
    work, bucket, extra = task
    return second_of(work, inputs_of(work), bucket, extra)
