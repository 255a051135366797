"""What an account can do, in integers: trade, borrow, repay, be liquidated.

Every change of cash goes through here, so that for each account and session, to the cent,

    cash = cash before + cash flows + sales - purchases + change of debt

where a trade counts ``round_half_up(price * quantity, 0.01)``. Costs are inside the price. Interest
is a cash flow when it is paid; a Reg T account without cash borrows what it pays.

An account is five small arrays: ``a`` (totals), ``hold`` (one row a holding), ``loan`` (one row a
contract), ``flow`` (this session's cash flows by kind) and ``logs`` (rows to put out).
"""

from __future__ import annotations

from typing import NamedTuple

from data_contracts.units import IntArray
from training.lab.compiled import compiled
from training.lab.market import BUYABLE, FINANCEABLE, LISTED, SELLABLE, Market

REG_T, CN = 0, 1
MAX_HOLDINGS, MAX_LOANS = 15, 12
FORCED_COST = 3
"""A forced sale crosses a wider spread: so many times the usual cost."""

CASH, DEBT, ACCRUED, HOLDINGS, LOANS, LOAN_NUMBER, MOST_LEVERAGE, ADD_ON = range(8)
SYMBOL, SHARES, COST, SINCE, SHARES_BEFORE, COST_BEFORE, SOLD_IN = range(7)
(
    NUMBER,
    L_SYMBOL,
    L_SHARES,
    PRINCIPAL,
    OWED,
    INTEREST,
    OPENED,
    DUE,
    ROLLED,
    RATIO,
    RATE,
    CHANGED,
) = range(12)
DEPOSIT, WITHDRAWAL, CASH_CURE, INTEREST_PAID, CORPORATE_ACTION, WRITE_OFF = range(6)
WARN, CALL, CURE, FORCED_SALE, SHORTFALL, DEFAULT = range(6)
TRADES, FLOWS, POSITIONS, CONTRACTS, EVENTS, BALANCES = range(6)
LOAN_DAYS = 182


class Terms(NamedTuple):
    """The rules as plain integers."""

    kind: int
    observe: int
    warn: int
    call: int
    force: int
    target: int
    deadline: int
    cost_bps: int
    lot: int
    max_debt: int


class Logs(NamedTuple):
    """Rows put out by a few clients.

    ``rows`` starts each row with its table and client; ``used`` counts rows and balances, past the
    capacity too, so that a re-run fits, and holds the client. ``forced`` sums the shares sold by
    force, by name; it may be empty. Few arrays: each one more costs time to compile.
    """

    rows: IntArray
    balances: IntArray
    used: IntArray
    forced: IntArray


WHO = 2
"""Where ``used`` holds the client."""


@compiled
def put(
    logs: Logs, table: int, s: int, v1: int, v2: int, v3: int, v4: int = 0, v5: int = 0
) -> None:
    """Put out a row of up to six values."""
    n = logs.used[0]
    if n < len(logs.rows):
        row = logs.rows[n]
        row[0], row[1], row[2], row[3] = table, logs.used[WHO], s, v1
        row[4], row[5], row[6], row[7] = v2, v3, v4, v5
    logs.used[0] = n + 1


@compiled
def worth(m: Market, s: int, a: IntArray, hold: IntArray) -> int:
    """Value of the holdings at the close, minor units; a suspended name at its last close."""
    total = 0
    for h in range(a[HOLDINGS]):
        total += m.close[s, hold[h, SYMBOL]] * hold[h, SHARES] // 100
    return total


@compiled
def repay(a: IntArray, loan: IntArray, j: int, pay: int, flow: IntArray) -> None:
    """Pay up to ``pay`` of a contract from cash: principal, and interest with the last of it."""
    owed, interest = loan[j, OWED], loan[j, INTEREST]
    if pay >= owed + interest:
        principal, paid = owed, interest
    elif pay >= owed:
        paid = min(interest, pay)
        principal = pay - paid
    else:
        principal, paid = pay, 0
    if principal + paid == 0:
        return
    loan[j, OWED] -= principal
    loan[j, INTEREST] -= paid
    loan[j, CHANGED] = 1
    a[CASH] -= principal + paid
    a[DEBT] -= principal
    a[ACCRUED] -= paid
    flow[INTEREST_PAID] -= paid


@compiled
def repay_all(a: IntArray, loan: IntArray, flow: IntArray) -> None:
    """Use cash to repay contracts, oldest first."""
    for j in range(a[LOANS]):
        if a[CASH] <= 0:
            return
        if loan[j, OWED] > 0:
            repay(a, loan, j, a[CASH], flow)


@compiled
def open_loan(
    m: Market, s: int, a: IntArray, loan: IntArray, symbol: int, shares: int, amount: int, due: int
) -> None:
    """Draw ``amount`` under a new contract; the money is in cash afterwards."""
    j = a[LOANS]
    a[LOANS] += 1
    a[LOAN_NUMBER] += 1
    loan[j, NUMBER] = a[LOAN_NUMBER]
    loan[j, L_SYMBOL], loan[j, L_SHARES] = symbol, shares
    loan[j, PRINCIPAL] = loan[j, OWED] = amount
    loan[j, INTEREST] = loan[j, ROLLED] = 0
    loan[j, OPENED], loan[j, DUE] = s, due
    loan[j, RATIO], loan[j, RATE], loan[j, CHANGED] = m.ratio[s], m.rate[s] + a[ADD_ON], 1
    a[DEBT] += amount
    a[CASH] += amount


@compiled
def draw(m: Market, s: int, a: IntArray, loan: IntArray, amount: int) -> None:
    """Reg T: raise the one rolling loan, or open it. A loan that fell to zero stays closed."""
    for j in range(a[LOANS]):
        if loan[j, OWED] > 0:
            loan[j, OWED] += amount
            loan[j, CHANGED] = 1
            a[DEBT] += amount
            a[CASH] += amount
            return
    open_loan(m, s, a, loan, -1, -1, amount, -1)


@compiled
def sell(
    m: Market,
    t: Terms,
    s: int,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    flow: IntArray,
    logs: Logs,
    h: int,
    shares: int,
    cost_bps: int,
) -> int:
    """Sell at the close less cost; what was bought with a contract repays it first."""
    symbol = hold[h, SYMBOL]
    close = m.close[s, symbol]
    price = max(close - (close * cost_bps + 9_999) // 10_000, 1)
    amount = (price * shares + 50) // 100
    a[CASH] += amount
    hold[h, COST] -= hold[h, COST] * shares // hold[h, SHARES]
    hold[h, SHARES] -= shares
    hold[h, SOLD_IN] = s
    if hold[h, SHARES] == 0:
        hold[h, COST] = 0
    if cost_bps > t.cost_bps and len(logs.forced) > 0:
        logs.forced[symbol] += shares
    debt = a[DEBT]
    if t.kind == REG_T:
        repay_all(a, loan, flow)
    else:
        left, proceeds = shares, amount
        for j in range(a[LOANS]):
            if loan[j, L_SYMBOL] == symbol and loan[j, OWED] > 0 and left > 0:
                part = min(left, loan[j, L_SHARES])
                loan[j, L_SHARES] -= part
                loan[j, CHANGED] = 1
                left -= part
                pay = min(proceeds, loan[j, OWED] + loan[j, INTEREST])
                proceeds -= pay
                repay(a, loan, j, pay, flow)
                if loan[j, L_SHARES] == 0 and loan[j, OWED] > 0:
                    repay(a, loan, j, min(a[CASH], loan[j, OWED] + loan[j, INTEREST]), flow)
    put(logs, TRADES, s, symbol, 1, shares, price, 1 if a[DEBT] < debt else 0)
    return int(amount)


@compiled
def find(a: IntArray, hold: IntArray, symbol: int) -> int:
    """The row of a holding, -1 if there is none."""
    for h in range(a[HOLDINGS]):
        if hold[h, SYMBOL] == symbol:
            return h
    return -1


@compiled
def buy(
    m: Market,
    t: Terms,
    s: int,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    logs: Logs,
    symbol: int,
    budget: int,
    financed: bool,
) -> int:
    """Buy whole lots for at most ``budget``; returns the amount. Limits are the caller's affair."""
    close = m.close[s, symbol]
    price = close + (close * t.cost_bps + 9_999) // 10_000
    shares = budget * 100 // price // t.lot * t.lot
    if shares <= 0 or not m.flags[s, symbol] & BUYABLE:
        return 0
    h = find(a, hold, symbol)
    if h >= 0 and hold[h, SOLD_IN] == s:
        return 0
    if h < 0:
        if a[HOLDINGS] == MAX_HOLDINGS:
            return 0
        h = a[HOLDINGS]
        a[HOLDINGS] += 1
        for k in range(hold.shape[1]):
            hold[h, k] = 0
        hold[h, SYMBOL], hold[h, SINCE], hold[h, SOLD_IN] = symbol, s, -1
    amount = (price * shares + 50) // 100
    hold[h, SHARES] += shares
    hold[h, COST] += amount
    debt = a[DEBT]
    if t.kind == REG_T:
        if amount > a[CASH]:
            draw(m, s, a, loan, amount - max(a[CASH], 0))
    elif financed:
        open_loan(m, s, a, loan, symbol, shares, amount, m.day[s] + LOAN_DAYS)
    a[CASH] -= amount
    put(logs, TRADES, s, symbol, 0, shares, price, 1 if a[DEBT] > debt else 0)
    return int(amount)


@compiled
def sell_down(
    m: Market,
    t: Terms,
    s: int,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    flow: IntArray,
    logs: Logs,
    target: int,
    cost_bps: int,
) -> int:
    """Repay and sell, largest holding first, until assets over debt reach ``target``.

    Sells S = (target * D - A) / (target * (1 - cost) - 1) of value, the amount that restores the
    ratio, name by name; names that cannot trade are passed over. Returns what was sold.
    """
    repay_all(a, loan, flow)
    sold = 0
    for _ in range(3 * MAX_HOLDINGS):
        debt = a[DEBT] + a[ACCRUED]
        assets = a[CASH] + worth(m, s, a, hold)
        if debt == 0 or assets * 1_000_000 >= target * debt:
            break
        best, most = -1, 0
        for h in range(a[HOLDINGS]):
            value = m.close[s, hold[h, SYMBOL]] * hold[h, SHARES]
            if value > most and m.flags[s, hold[h, SYMBOL]] & SELLABLE:
                best, most = h, value
        if best < 0:
            break
        rate = target * (10_000 - cost_bps) // 10_000 - 1_000_000
        need = (target * debt - assets * 1_000_000) // rate + 1
        shares = need * 100 // m.close[s, hold[best, SYMBOL]] + 1
        shares = min((shares + t.lot - 1) // t.lot * t.lot, hold[best, SHARES])
        sold += sell(m, t, s, a, hold, loan, flow, logs, best, shares, cost_bps)
        repay_all(a, loan, flow)
    return sold


@compiled
def available_margin(m: Market, s: int, a: IntArray, hold: IntArray, loan: IntArray) -> int:
    """Margin left for new loans, as the Chinese exchanges define it.

    Cash, plus collateral at its haircut, plus the gain on financed shares at its haircut (a loss in
    full), less principal times each contract's own margin ratio, less interest.
    """
    total = a[CASH] - a[ACCRUED]
    for h in range(a[HOLDINGS]):
        symbol = hold[h, SYMBOL]
        own = hold[h, SHARES]
        for j in range(a[LOANS]):
            if loan[j, L_SYMBOL] == symbol and loan[j, OWED] > 0:
                own -= loan[j, L_SHARES]
                gain = m.close[s, symbol] * loan[j, L_SHARES] // 100 - loan[j, OWED]
                total += gain * m.haircut[s, symbol] // 1_000_000 if gain > 0 else gain
        total += m.close[s, symbol] * own // 100 * m.haircut[s, symbol] // 1_000_000
    for j in range(a[LOANS]):
        if loan[j, L_SHARES] == 0:
            total -= loan[j, OWED]
        total -= (loan[j, OWED] * loan[j, RATIO] + 999_999) // 1_000_000
    return int(total)


@compiled
def room_to_borrow(m: Market, t: Terms, s: int, a: IntArray, hold: IntArray, loan: IntArray) -> int:
    """The most that may be bought with new debt now, minor units."""
    if t.kind == REG_T:
        value = worth(m, s, a, hold)
        equity = a[CASH] + value - a[DEBT] - a[ACCRUED]
        room = (equity * 1_000_000 - value * m.ratio[s]) // m.ratio[s] - max(a[CASH], 0)
    else:
        room = available_margin(m, s, a, hold, loan) * 1_000_000 // m.ratio[s]
    if a[MOST_LEVERAGE] > 0:
        equity = a[CASH] + worth(m, s, a, hold) - a[DEBT] - a[ACCRUED]
        room = min(room, equity * (a[MOST_LEVERAGE] - 1000) // 1000 - a[DEBT] - a[ACCRUED])
    return int(max(min(room, t.max_debt - a[DEBT]), 0))


@compiled
def financeable(m: Market, s: int, symbol: int) -> bool:
    """Whether a name may be bought with borrowed money."""
    return bool(m.flags[s, symbol] & FINANCEABLE)


@compiled
def gone(m: Market, s: int, symbol: int) -> bool:
    """Whether a name is no longer listed."""
    return not m.flags[s, symbol] & LISTED
