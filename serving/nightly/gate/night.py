"""A sealed night as columns: what gate, monitors and the morning report look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.decision import OUTCOMES
from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, BoolArray, IntArray, parse_decimal
from models.bundle import Bundle
from models.calibration import tier_of_pd
from models.gate.measures import cap_targets
from models.margin.cap import CAP_TERMS, soft_floor
from models.policy import Policy
from models.policy.kept import pack_of
from models.price.rate import FREE_STACK
from models.stability import SCORE, FrozenCells, frozen_cells
from serving.nightly.segments import INPUTS_FILE, TIER_NAMES, read_decisions

_MONEY = ("max_debt_amt", "soft_cap_amt", "debt_amt", "equity_amt", "ead_amt", "expected_loss_amt")
_COLUMNS = [
    "client_id", "decision_id", "outcome", "tier", "score", "pd_e9", *_MONEY, "maintenance_e6",
    "binding", "cap_limits_minor", "rate_bps", "rate_components_bps",
]  # fmt: skip


def matrix(column: pa.ChunkedArray | pa.Array, width: int) -> IntArray:
    """A fixed-size list of integers as an array, ``NULL`` for null."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = flat.flatten() if len(flat) else pa.array([], pa.int64())
    return np.asarray(values.fill_null(NULL), dtype=np.int64).reshape(-1, width)


def _codes(column: pa.ChunkedArray, names: tuple[str, ...]) -> IntArray:
    return np.asarray(
        pc.index_in(column.cast(pa.string()), value_set=pa.array(names)).fill_null(-1)
    ).astype(np.int64)


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


class _Parts:
    """Columns gathered segment by segment; the features themselves are counted and let go."""

    def __init__(self, bundle: Bundle, cells: Mapping[str, FrozenCells]) -> None:
        self.bundle, self.cells = bundle, cells
        self.tables: list[pa.Table] = []
        self.limits: list[IntArray] = []
        self.components: list[IntArray] = []
        self.states: list[str] = []
        self.previous: list[tuple[int, int]] = []
        self.symbols: dict[str, int] = {}
        self.lots: list[tuple[int, int, int]] = []
        self.arrays: list[IntArray] = []
        self.counts = {n: np.zeros(len(c.counts), dtype=np.int64) for n, c in cells.items()}
        self.missing = np.zeros(len(bundle.names), dtype=np.int64)
        self.rows = 0

    def add(self, path: Path) -> None:
        table = read_decisions(path, _COLUMNS)
        inputs_path = path.parent / INPUTS_FILE
        if not inputs_path.is_file():
            raise InputError(f"the inputs {inputs_path} are missing; restore them from a backup")
        inputs = pq.read_table(inputs_path, partitioning=None)
        features = matrix(inputs["features"], len(self.bundle.names))
        self.missing += (features == NULL).sum(axis=0)
        for k, name in enumerate(self.bundle.names):
            if name in self.counts:
                self.counts[name] += self.cells[name].count(features[:, k])
        if SCORE in self.counts:
            self.counts[SCORE] += self.cells[SCORE].count(np.asarray(table["score"]))
        self.limits.append(cap_targets(matrix(table["cap_limits_minor"], len(CAP_TERMS))))
        free = matrix(table["rate_components_bps"], FREE_STACK + 2)[:, :FREE_STACK]
        self.components.append(free.sum(axis=1))
        lots = []
        for k, text in enumerate(inputs["case"].to_pylist(), start=self.rows):
            case = orjson.loads(text)
            self.states.append(case["status"]["margin_state"])
            last = case["previous"]
            self.previous.append(
                (NULL, 0)
                if last is None
                else (parse_decimal(last["soft_cap_amt"], 2, ""), last["sessions_since"])
            )
            for lot in case["book"]["positions"]:
                symbol = self.symbols.setdefault(lot["symbol"], len(self.symbols))
                lots.append((k, symbol, int(lot["quantity_shares"])))
        self.arrays.append(np.array(lots, dtype=np.int64).reshape(-1, 3))
        self.tables.append(table.drop_columns(["cap_limits_minor", "rate_components_bps"]))
        self.rows += table.num_rows


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
    parts = _Parts(bundle, frozen)
    for name in finished["segments"]:
        parts.add(root / name)
    if not parts.tables:
        raise InputError(f"run {run_id} has no segment; there is nothing to judge")
    table = pa.concat_tables([t.unify_dictionaries() for t in parts.tables])
    table = table.combine_chunks()
    lots = np.concatenate(parts.arrays)
    states = np.array(parts.states, dtype="U9")
    policy = pack_of(root, started).on(dt.date.fromisoformat(str(started["effective_on"])))
    last_soft, since = np.array(parts.previous, dtype=np.int64).reshape(-1, 2).T
    return Night(
        run_id=run_id,
        as_of=dt.date.fromisoformat(str(started["as_of"])),
        started=started,
        finished=finished,
        bundle=bundle,
        policy=policy,
        market=MarketSnapshot.read(root / "runs" / run_id / "market"),
        client_ids=pa.array(table["client_id"].to_pylist(), pa.string()),
        decision_ids=pa.array(table["decision_id"].to_pylist(), pa.string()),
        money={n: decimal_to_int(table[n]) for n in _MONEY},
        outcome=_codes(table["outcome"], OUTCOMES),
        tier=_codes(table["tier"], TIER_NAMES) + 1,
        score=np.asarray(table["score"]),
        pd=np.asarray(table["pd_e9"]),
        maintenance=np.asarray(table["maintenance_e6"].fill_null(NULL)).astype(np.int64),
        binding=_codes(table["binding"], CAP_TERMS),
        target=np.concatenate(parts.limits),
        rate=np.asarray(table["rate_bps"]),
        rate_target=np.concatenate(parts.components),
        soft_floor=np.where(
            last_soft > 0, soft_floor(last_soft, since, policy["step_down_ratio"]), NULL
        ),
        defaulted=states == "defaulted",
        called=(states == "called") | (states == "overdue"),
        names=tuple(parts.symbols),
        lot_client=lots[:, 0],
        lot_name=lots[:, 1],
        lot_shares=lots[:, 2],
        cells=parts.counts,
        missing=parts.missing,
    )
