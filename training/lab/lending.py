"""What time does to an account: corporate actions, interest, contracts that fall due."""

from __future__ import annotations

from data_contracts.units import IntArray
from training.lab.compiled import compiled
from training.lab.market import SELLABLE, Market
from training.lab.mechanics import (
    ACCRUED,
    ADD_ON,
    CASH,
    CHANGED,
    CORPORATE_ACTION,
    DUE,
    HOLDINGS,
    INTEREST,
    INTEREST_PAID,
    L_SHARES,
    L_SYMBOL,
    LOAN_DAYS,
    LOANS,
    OWED,
    RATE,
    REG_T,
    ROLLED,
    SHARES,
    SYMBOL,
    Logs,
    Terms,
    draw,
    repay,
    sell,
)

YEAR_DAYS_BPS = 360 * 10_000
MAX_ROLLOVERS = 1


@compiled
def accrue(
    m: Market, t: Terms, s: int, a: IntArray, hold: IntArray, loan: IntArray, flow: IntArray
) -> None:
    """Overnight: corporate actions into cash, interest on each contract, ACT/360."""
    for h in range(a[HOLDINGS]):
        paid = m.payout[s, hold[h, SYMBOL]] * hold[h, SHARES] // 100
        a[CASH] += paid
        flow[CORPORATE_ACTION] += paid
    days = m.day[s] - m.day[s - 1]
    for j in range(a[LOANS]):
        interest = (loan[j, OWED] * loan[j, RATE] * days + YEAR_DAYS_BPS // 2) // YEAR_DAYS_BPS
        loan[j, INTEREST] += interest
        a[ACCRUED] += interest


@compiled
def pay_interest(m: Market, t: Terms, s: int, a: IntArray, loan: IntArray, flow: IntArray) -> None:
    """Month end: interest from cash; Reg T adds it to the loan, in China the rest stays owed."""
    for j in range(a[LOANS]):
        interest = loan[j, INTEREST]
        if interest > 0 and loan[j, OWED] > 0:
            if t.kind == REG_T:
                draw(m, s, a, loan, interest)
            paid = min(interest, a[CASH])
            a[CASH] -= paid
            a[ACCRUED] -= paid
            loan[j, INTEREST] -= paid
            flow[INTEREST_PAID] -= paid
        loan[j, CHANGED] = 1


@compiled
def mature(
    m: Market,
    t: Terms,
    s: int,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    flow: IntArray,
    logs: Logs,
    sound: bool,
) -> None:
    """Chinese contracts that fall due: rolled over once by a sound account, else repaid."""
    for j in range(a[LOANS]):
        if loan[j, OWED] == 0:
            continue
        if m.day[s] >= loan[j, DUE]:
            if sound and loan[j, ROLLED] < MAX_ROLLOVERS:
                loan[j, ROLLED] += 1
                loan[j, DUE] = m.day[s] + LOAN_DAYS
                loan[j, RATE] = m.rate[s] + a[ADD_ON]
                loan[j, CHANGED] = 1
                continue
            for h in range(a[HOLDINGS]):
                if hold[h, SYMBOL] == loan[j, L_SYMBOL] and m.flags[s, hold[h, SYMBOL]] & SELLABLE:
                    part = min(loan[j, L_SHARES], hold[h, SHARES])
                    if part > 0:
                        sell(m, t, s, a, hold, loan, flow, logs, h, part, t.cost_bps)
        if (m.day[s] >= loan[j, DUE] or loan[j, L_SHARES] == 0) and a[CASH] > 0:
            repay(a, loan, j, a[CASH], flow)
