"""A sealed night as columns: what gate, monitors and the morning report look at."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.decision import OUTCOMES
from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, BoolArray, IntArray
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.decide.cases import MARGIN_STATES
from models.gate.measures import cap_targets
from models.margin.cap import CAP_TERMS, soft_floor
from models.policy import Policy
from models.policy.kept import pack_of
from models.price.rate import FREE_STACK
from models.stability import SCORE, FrozenCells, frozen_cells
from serving.nightly.gate.cases import CaseParts, matrix, read_cases
from serving.nightly.segments import TIER_NAMES, read_decisions

_MONEY = ("max_debt_amt", "soft_cap_amt", "debt_amt", "equity_amt", "ead_amt", "expected_loss_amt")
_COLUMNS = [
    "client_id", "decision_id", "outcome", "tier", "score", "pd_e9", *_MONEY, "maintenance_e6",
    "binding", "cap_limits_minor", "rate_bps", "rate_components_bps",
]  # fmt: skip


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> IntArray:
    return np.asarray(
        pc.index_in(column.cast(pa.string()), value_set=pa.array(names)).fill_null(-1)
    ).astype(np.int64)


def _texts(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _total(counts: Sequence[IntArray]) -> IntArray:
    out: IntArray = np.sum(counts, axis=0)
    return out


@dataclass(frozen=True)
class Night:
    """The decisions of a run, in segment order, and what they were made on.

    Attributes
    ----------
    client_ids : N strings
    money : columns of ``decisions`` in minor units, by name
    outcome, binding : positions in ``OUTCOMES`` and ``CAP_TERMS``
    tier : 1 to 7, 8 for D
    target, rate_target : limit before step and override, rate before step and clip
    maintenance : 1e-6, ``NULL`` without debt
    soft_floor : where the step from the last limit ends a fall, minor units, ``NULL`` without one
    defaulted, called : state of the account
    lot_client, lot_name, lot_shares : one row a client and holding; names count in ``names``
    cells : counts in the frozen cells of the bundle, by quantity; empty for an older bundle
    missing : missing values of each feature
    """

    run_id: str
    as_of: dt.date
    started: Mapping[str, Any]
    finished: Mapping[str, Any]
    bundle: Bundle
    policy: Policy
    market: MarketSnapshot
    client_ids: pa.Array
    decision_ids: pa.Array
    money: Mapping[str, IntArray]
    outcome: IntArray
    tier: IntArray
    score: IntArray
    pd: IntArray
    maintenance: IntArray
    binding: IntArray
    target: IntArray
    rate: IntArray
    rate_target: IntArray
    soft_floor: IntArray
    defaulted: BoolArray
    called: BoolArray
    names: tuple[str, ...]
    lot_client: IntArray
    lot_name: IntArray
    lot_shares: IntArray
    cells: Mapping[str, IntArray]
    missing: IntArray

    def __len__(self) -> int:
        return len(self.client_ids)

    @cached_property
    def frozen(self) -> dict[str, FrozenCells]:
        """The cells that the night's bundle froze."""
        return frozen_cells(self.bundle.reference.get("monitor"))

    def own_tier(self, edges: IntArray) -> IntArray:
        """Tier by the night's own PD, on some edges, before hysteresis and defaults."""
        return tier_of_pd(self.pd, edges)


@dataclass(frozen=True)
class _Part:
    """One segment: its decisions, what its cases say, and its features counted and let go."""

    table: pa.Table
    target: IntArray
    rate_target: IntArray
    cases: CaseParts
    counts: dict[str, IntArray]
    missing: IntArray


def _part(path: Path, bundle: Bundle, cells: Mapping[str, FrozenCells]) -> _Part:
    table = read_decisions(path, _COLUMNS)
    cases = read_cases(path.parent, len(bundle.names))
    columns = np.ascontiguousarray(cases.features.T)
    counts = {n: cells[n].count(columns[k]) for k, n in enumerate(bundle.names) if n in cells}
    if SCORE in cells:
        counts[SCORE] = cells[SCORE].count(np.asarray(table["score"]))
    free = matrix(table["rate_components_bps"], FREE_STACK + 2)[:, :FREE_STACK]
    return _Part(
        table=table.drop_columns(["cap_limits_minor", "rate_components_bps"]),
        target=cap_targets(matrix(table["cap_limits_minor"], len(CAP_TERMS))),
        rate_target=free.sum(axis=1),
        cases=replace(cases, features=cases.features[:0].copy()),
        counts=counts,
        missing=(columns == NULL).sum(axis=1),
    )


def _lots(parts: Sequence[_Part]) -> tuple[tuple[str, ...], list[IntArray]]:
    """Names in the order in which they first occur; client, name and shares of each holding."""
    known: dict[str, int] = {}
    columns: tuple[list[IntArray], ...] = ([], [], [])
    first = 0
    for part in parts:
        c = part.cases
        code = np.array([known.setdefault(s, len(known)) for s in c.symbols], dtype=np.int64)
        columns[0].append(c.lot_client + first)
        columns[1].append(code[c.lot_symbol])
        columns[2].append(c.lot_shares)
        first += part.table.num_rows
    return tuple(known), [np.concatenate(c) for c in columns]


def read_night(
    root: Path,
    started: Mapping[str, Any],
    finished: Mapping[str, Any],
    cells: Mapping[str, FrozenCells] | None = None,
) -> Night:
    """Read a finished run of a lake.

    ``cells`` to count in; left out, those that its own bundle froze.
    """
    run_id = str(finished["run_id"])
    bundle = Bundle.read(root / started["bundle_path"])
    frozen = frozen_cells(bundle.reference.get("monitor")) if cells is None else cells
    segments = [root / name for name in finished["segments"]]
    if not segments:
        raise InputError(f"run {run_id} has no segment; there is nothing to judge")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = list(pool.map(lambda path: _part(path, bundle, frozen), segments))
    table = pa.concat_tables([p.table.unify_dictionaries() for p in parts]).combine_chunks()
    names, (lot_client, lot_name, lot_shares) = _lots(parts)
    state = np.concatenate([p.cases.margin_state for p in parts])
    last_soft = np.concatenate([p.cases.last_soft for p in parts])
    since = np.concatenate([p.cases.since for p in parts])
    policy = pack_of(root, started).on(dt.date.fromisoformat(str(started["effective_on"])))
    return Night(
        run_id=run_id,
        as_of=dt.date.fromisoformat(str(started["as_of"])),
        started=started,
        finished=finished,
        bundle=bundle,
        policy=policy,
        market=MarketSnapshot.read(root / "runs" / run_id / "market"),
        client_ids=_texts(table["client_id"]),
        decision_ids=_texts(table["decision_id"]),
        money={n: decimal_to_int(table[n]) for n in _MONEY},
        outcome=_codes(table["outcome"], OUTCOMES),
        tier=_codes(table["tier"], TIER_NAMES) + 1,
        score=np.asarray(table["score"]),
        pd=np.asarray(table["pd_e9"]),
        maintenance=np.asarray(table["maintenance_e6"].fill_null(NULL)).astype(np.int64),
        binding=_codes(table["binding"], CAP_TERMS),
        target=np.concatenate([p.target for p in parts]),
        rate=np.asarray(table["rate_bps"]),
        rate_target=np.concatenate([p.rate_target for p in parts]),
        soft_floor=np.where(
            last_soft > 0, soft_floor(last_soft, since, policy["step_down_ratio"]), NULL
        ),
        defaulted=state == MARGIN_STATES.index("defaulted"),
        called=np.isin(state, [MARGIN_STATES.index(s) for s in ("called", "overdue")]),
        names=names,
        lot_client=lot_client,
        lot_name=lot_name,
        lot_shares=lot_shares,
        cells={n: _total([p.counts[n] for p in parts]) for n in parts[0].counts},
        missing=_total([p.missing for p in parts]),
    )
