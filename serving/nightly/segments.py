"""Segments: the decisions of one bucket of one run as Parquet, and the inputs to replay them.

``decisions.parquet`` holds flat integers, decimals and dictionary strings and the hash of every
decision's canonical body; ``inputs.parquet`` beside it holds each case and its quantised features,
whose hashes stand in the decision.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.case import Case, case_from_json
from data_contracts.decision import OUTCOMES, decision_id_of
from data_contracts.errors import InputError
from data_contracts.lake import decimal_array, write_atomically
from data_contracts.units import NULL, IntArray
from models.decide import DecisionColumns
from models.decide.facts import reason_codes
from models.decide.written import hashes
from models.margin.cap import CAP_TERMS
from models.margin.limits import NO_LIMIT

DECISIONS_FILE: Final = "decisions.parquet"
INPUTS_FILE: Final = "inputs.parquet"
HELD_FILE: Final = "held.parquet"
"""Clients that could not be decided on; only where a bucket has any."""
TIER_NAMES: Final = ("1", "2", "3", "4", "5", "6", "7", "D")


def _fixed(values: IntArray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _names(names: tuple[str, ...], codes: IntArray) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int8)), pa.array(names)).cast(
        pa.dictionary(pa.int8(), pa.string())
    )


def _integers(values: IntArray) -> pa.Array:
    return pa.array(np.where(values == NULL, 0, values), mask=values == NULL)


def segment_table(d: DecisionColumns) -> pa.Table:
    """The decisions as a table, one row a client, in row order."""
    n = len(d)
    ids = [decision_id_of(name) for name in d.columns.names]
    names, positions, offsets = reason_codes(d)
    codes = pa.DictionaryArray.from_arrays(pa.array(positions.astype(np.int16)), pa.array(names))
    reasons = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), codes)
    amounts = {
        "debt_amt": d.debt_amt,
        "equity_amt": d.books.equity,
        "max_debt_amt": d.cap.cap,
        "soft_cap_amt": d.cap.soft,
        "ead_amt": d.ead_amt,
        "expected_loss_amt": d.expected_loss_amt,
    }
    limits = np.where(d.cap.limits >= NO_LIMIT, NULL, d.cap.limits)
    columns: dict[str, pa.Array] = {
        "decision_id": pa.array(ids, pa.string()),
        "client_id": pa.array(d.columns.client_ids, pa.string()),
        "as_of": pa.array([d.market.session] * n, pa.date32()),
        "effective_on": pa.array([d.policy.effective_on] * n, pa.date32()),
        "outcome": _names(OUTCOMES, d.outcome),
        "tier": _names(TIER_NAMES, d.tiers.tier - 1),
        "candidate_tier": pa.array(d.tiers.candidate.astype(np.int8)),
        "candidate_sessions": pa.array(d.tiers.candidate_sessions),
        "score": pa.array(d.score),
        "pd_e9": pa.array(d.pd),
        "pd_low_e9": pa.array(d.pd_low),
        "pd_high_e9": pa.array(d.pd_high),
        "lgd_e6": pa.array(d.lgd),
        **{name: decimal_array(values, 2) for name, values in amounts.items()},
        "maintenance_e6": _integers(d.books.maintenance),
        "max_leverage_milli": _integers(d.cap.leverage_milli),
        "binding": _names(CAP_TERMS, d.cap.binding),
        "cap_limits_minor": _fixed(limits),
        "cap_removed_minor": _fixed(d.cap.removed),
        "structural_margin_e6": _integers(d.books.paths.margin),
        "structural_base_margin_e6": _integers(d.books.paths.base_margin),
        "structural_budget_e6": _integers(d.books.paths.budget),
        "concentration_margin_e6": pa.array(d.books.concentration_margin),
        "structural_chance_e6": _integers(d.books.paths.chance),
        "structural_error_e6": _integers(d.books.paths.error),
        "capital_e6": pa.array(d.capital.ratio),
        "capital_sold_e6": pa.array(d.capital.sold_ratio),
        "capital_sold_pd_e9": pa.array(d.capital.sold_pd),
        "capital_loss_e6": pa.array(d.capital.tail_loss),
        "rate_bps": pa.array(d.rate.rate_bps),
        "rate_components_bps": _fixed(d.rate.components),
        "month_change_bps": pa.array(d.rate.month_change_bps),
        "quarter_changes": pa.array(d.rate.quarter_changes),
        "reasons": reasons,
        "attribution": _fixed(d.attributions),
        "decision_sha256": pa.array(hashes(d), pa.binary(32)),
    }
    return pa.table(columns)


def inputs_table(d: DecisionColumns) -> pa.Table:
    """Each decision's case, as JSON, and quantised features."""
    return pa.table(
        {
            "client_id": pa.array(d.columns.client_ids, pa.string()),
            "case": pa.array(
                d.columns.documents,
                pa.binary(),
            ),
            "features": _fixed(d.features.values),
        }
    )


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file with fixed settings: equal tables give equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=1)
    return sink.getvalue()


def segment_files(d: DecisionColumns) -> tuple[dict[str, bytes], pa.Table]:
    """The files of a segment by name, the decisions last, and the decisions as a table."""
    table = segment_table(d)
    files = {INPUTS_FILE: parquet_bytes(inputs_table(d)), DECISIONS_FILE: parquet_bytes(table)}
    return files, table


def write_segment(folder: Path, d: DecisionColumns) -> pa.Table:
    """Write both files of a segment into a folder; returns the decisions table."""
    files, table = segment_files(d)
    for name, data in files.items():
        write_atomically(folder / name, data)
    return table


def read_decisions(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The decisions of a segment file."""
    if not path.is_file():
        raise InputError(f"segment {path} is missing; restore it from a backup")
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"segment {path} is damaged: {error}; restore it from a backup") from None


def segment_digests(path: Path) -> list[bytes]:
    """The ``decision_sha256`` of every row, in row order: what the ledger sealed."""
    return list(read_decisions(path, ["decision_sha256"])["decision_sha256"].to_pylist())


def read_inputs(folder: Path, rows: list[int]) -> tuple[list[Case], IntArray]:
    """Cases and features of some rows of a segment."""
    path = folder / INPUTS_FILE
    if not path.is_file():
        raise InputError(f"the inputs {path} are missing; restore them from a backup")
    try:
        table = pq.read_table(path, partitioning=None).take(pa.array(rows))
        cases = [case_from_json(orjson.loads(c)) for c in table["case"].to_pylist()]
        values = np.array(table["features"].to_pylist(), dtype=np.int64).reshape(len(rows), -1)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, OSError) as error:
        raise InputError(f"the inputs {path} are damaged: {error}; restore them") from None
    return cases, values
