"""What a session leaves behind: versions of holdings and contracts, cash flows, the balance."""

from __future__ import annotations

from data_contracts.units import IntArray
from training.lab.compiled import compiled
from training.lab.mechanics import (
    ACCRUED,
    CASH,
    CHANGED,
    CONTRACTS,
    COST,
    COST_BEFORE,
    DEBT,
    DUE,
    FLOWS,
    HOLDINGS,
    INTEREST,
    L_SHARES,
    L_SYMBOL,
    LOANS,
    NUMBER,
    OPENED,
    OWED,
    POSITIONS,
    PRINCIPAL,
    RATE,
    RATIO,
    ROLLED,
    SHARES,
    SHARES_BEFORE,
    SINCE,
    SYMBOL,
    WHO,
    Logs,
    put,
)

WIDTHS = (6, 3, 6, 12, 4)
"""Columns of the raw rows, after table and client: trades, flows, positions, contracts, events."""


@compiled
def put_holdings(s: int, a: IntArray, hold: IntArray, logs: Logs) -> None:
    """Close the interval of each changed holding and open the next; drop what was sold out."""
    kept = 0
    for h in range(a[HOLDINGS]):
        row = hold[h]
        if row[SHARES] != row[SHARES_BEFORE] or row[COST] != row[COST_BEFORE]:
            if row[SHARES_BEFORE] > 0:
                put(
                    logs,
                    POSITIONS,
                    s,
                    row[SYMBOL],
                    row[SINCE],
                    s - 1,
                    row[SHARES_BEFORE],
                    row[COST_BEFORE],
                )
            if row[SHARES] > 0:
                put(logs, POSITIONS, s, row[SYMBOL], s, -1, row[SHARES], row[COST])
            row[SINCE], row[SHARES_BEFORE], row[COST_BEFORE] = s, row[SHARES], row[COST]
        if row[SHARES] > 0:
            if kept < h:
                for k in range(hold.shape[1]):  # a slice would treble the time to compile
                    hold[kept, k] = row[k]
            kept += 1
    a[HOLDINGS] = kept


@compiled
def put_loans(s: int, a: IntArray, loan: IntArray, logs: Logs) -> None:
    """Put out a version of each changed contract; drop what was repaid."""
    kept = 0
    for j in range(a[LOANS]):
        row = loan[j]
        if row[CHANGED]:
            if row[OWED] == 0 and row[L_SHARES] > 0:
                row[L_SHARES] = 0
            n = logs.used[0]
            if n < len(logs.rows):
                out = logs.rows[n]
                out[0], out[1], out[2], out[3] = CONTRACTS, logs.used[WHO], s, row[NUMBER]
                out[4], out[5], out[6], out[7] = (
                    row[L_SYMBOL],
                    row[L_SHARES],
                    row[PRINCIPAL],
                    row[OWED],
                )
                out[8], out[9], out[10] = row[INTEREST], row[OPENED], row[DUE]
                out[11], out[12], out[13] = row[ROLLED], row[RATIO], row[RATE]
            logs.used[0] = n + 1
            row[CHANGED] = 0
        if row[OWED] > 0:
            if kept < j:
                for k in range(loan.shape[1]):
                    loan[kept, k] = row[k]
            kept += 1
    a[LOANS] = kept


@compiled
def put_session(
    s: int, a: IntArray, hold: IntArray, loan: IntArray, flow: IntArray, logs: Logs, value: int
) -> None:
    """Put out everything a session changed, its balance, and assets with holdings of ``value``."""
    for kind in range(len(flow)):
        if flow[kind] != 0:
            put(logs, FLOWS, s, kind, flow[kind], 0)
    put_holdings(s, a, hold, logs)
    put_loans(s, a, loan, logs)
    n = logs.used[1]
    if n < len(logs.balances):
        out = logs.balances[n]
        out[0], out[1], out[2], out[3], out[4] = logs.used[WHO], s, a[CASH], a[DEBT], a[ACCRUED]
        if len(out) > 5:
            out[5] = a[CASH] + value
    logs.used[1] = n + 1
