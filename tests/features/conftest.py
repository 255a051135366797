"""Small random lakes as lists of rows, and how to write them; shared by the feature tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.lake import LakeInfo, create_lake, write_bucketed
from data_contracts.tables import TABLES
from data_contracts.units import NULL
from features.calendar import cut_off
from features.panel import PricePanel

Row = dict[str, Any]
Rows = dict[str, list[Row]]

TABLE_NAMES = (
    "clients", "accounts", "trades", "cash_flows", "contracts", "positions", "balances",
    "margin_events",
)  # fmt: skip
SESSIONS = 90
SYMBOLS = ("AAA", "BBB", "CCC", "DDD")

KEYS = {
    "clients": ("client_id",),
    "accounts": ("account_id",),
    "trades": ("trade_id",),
    "cash_flows": ("account_id", "kind", "event_at"),
    "positions": ("account_id", "symbol", "from_session"),
    "balances": ("account_id", "session"),
    "margin_events": ("account_id", "kind", "event_at"),
    "contracts": ("contract_id",),
}


def weekdays(count: int) -> list[dt.date]:
    day = dt.date(2024, 1, 2)
    out: list[dt.date] = []
    while len(out) < count:
        if day.weekday() < 5:
            out.append(day)
        day += dt.timedelta(days=1)
    return out


def at(day: dt.date, hour: float) -> dt.datetime:
    """An instant of a Shanghai day: the cut-off is hour 18, that is 10:00 UTC."""
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC) + dt.timedelta(hours=hour - 8)


@pytest.fixture(scope="session")
def panel() -> PricePanel:
    rng = np.random.default_rng(7)
    shape = (SESSIONS, len(SYMBOLS))
    days = weekdays(SESSIONS)
    steps = rng.normal(0.001, 0.03, shape)
    close = np.rint(100_000 * np.exp(np.cumsum(steps, axis=0))).astype(np.int64)
    volume = rng.integers(1_000, 50_000, shape)
    volume[:60, 3] = NULL
    suspended = np.zeros(shape, dtype=bool)
    for s in range(40, 44):
        close[s, 1], suspended[s, 1], volume[s, 1] = close[39, 1], True, 0
    close[:30, 2] = NULL
    return PricePanel(
        mic="XSHG",
        currency="CNY",
        sessions=np.array(days, dtype="datetime64[D]"),
        close_at=np.array([at(d, 15).replace(tzinfo=None) for d in days], dtype="datetime64[us]"),
        symbols=SYMBOLS,
        close=close,
        pre_close=np.full(shape, NULL, dtype=np.int64),
        volume_shares=volume,
        suspended=suspended,
        price_limit=np.tile([100_000, 100_000, 200_000, 300_000], (SESSIONS, 1)),
        haircut=np.full(shape, 650_000, dtype=np.int64),
        margin_eligible=np.ones(shape, dtype=bool),
        collateral_eligible=np.ones(shape, dtype=bool),
        special_treatment=np.tile([False, True, False, False], (SESSIONS, 1)),
        board=("main", "main", "chinext", "bse"),
        index_close=np.rint(3e7 * np.exp(np.cumsum(rng.normal(0, 0.01, SESSIONS)))).astype(
            np.int64
        ),
    )


class RandomRows:
    """A plausible but careless book: late rows, corrections, missing balances, two accounts."""

    def __init__(self, seed: int, panel: PricePanel) -> None:
        self.rng = np.random.default_rng(seed)
        self.days: list[dt.date] = panel.sessions.tolist()
        self.close = panel.close
        self.rows: Rows = {name: [] for name in TABLE_NAMES}
        self.told: dict[tuple[str, int], dt.datetime] = {}
        self.owner = {"a1": "c1", "a2": "c2", "a3": "c3", "a4": "c3", "a5": "c4"}
        for k in range(1, 6):
            self.client(f"c{k}", k)
        for k, account in enumerate(self.owner):
            self.account(account, 3 * k)
        for name in TABLE_NAMES:
            self.rng.shuffle(self.rows[name])

    def known(self, day: dt.date, hour: float = 16) -> dt.datetime:
        late = int(self.rng.integers(1, 4)) if self.rng.random() < 0.05 else 0
        # Distinct microseconds: no two versions of a key are known at the same instant.
        jitter = dt.timedelta(microseconds=int(self.rng.integers(1, 1_000_000_000)))
        return at(day + dt.timedelta(days=late), hour) + jitter

    def add(self, name: str, event: dt.datetime, known: dt.datetime, **values: object) -> None:
        row: Row = {c.name: None for c in TABLES[name].columns}
        row |= values | {"event_at": event, "known_at": max(known, event)}
        if "account_id" in row and "client_id" in row:
            row["client_id"] = self.owner[str(row["account_id"])]
        if TABLES[name].event == "executed_at":
            row["executed_at"] = event
        self.rows[name].append(row)

    def client(self, client: str, k: int) -> None:
        for version, day in enumerate((self.days[0], self.days[30 + k])):
            self.add(
                "clients", at(day, 10), self.known(day, 11), client_id=client,
                income_amt=None if k == 2 else int(self.rng.integers(0, 10**8)),
                net_worth_amt=int(self.rng.integers(-(10**8), 10**9)),
                liquid_assets_amt=int(self.rng.integers(0, 10**9)),
                experience_months=12 * k + version, suitability_level=1 + k % 5,
                literacy_score=50 + k, bureau_status=("clear", "minor", "thin", None)[k % 4],
                kyc_verified_on=day, kyc_expires_on=day.replace(year=day.year + 1),
                pep=False, sanctioned=False, aml_level="low",
                related_group_id="g" if k < 3 else None, automated_decision_refused=False,
            )  # fmt: skip

    def account(self, account: str, opened: int) -> None:
        rng, days = self.rng, self.days
        closed = days[70] if account == "a5" else None
        base = {
            "account_id": account, "client_id": "", "market": "XSHG", "product": "financing",
            "currency": "CNY", "opened_on": days[opened],
        }  # fmt: skip
        self.add("accounts", at(days[opened], 9), self.known(days[opened]), **base)
        if closed:
            self.add("accounts", at(days[opened], 9), self.known(closed), **base, closed_on=closed)
        held: dict[int, tuple[int, int, int]] = {}
        for s in range(opened, len(days)):
            if closed and days[s] >= closed:
                break
            self.session(account, s, held)
            if rng.random() < 0.06:
                kind = str(rng.choice(["deposit", "withdrawal", "cash_cure", "interest"]))
                sign = -1 if kind in ("withdrawal", "interest") else 1
                self.add(
                    "cash_flows", at(days[s], 11), self.known(days[s]), account_id=account,
                    kind=kind, amount_amt=sign * int(rng.integers(1, 10**6)),
                )  # fmt: skip
            if rng.random() < 0.06:
                kind = str(rng.choice(["call", "cure", "forced_sale", "default", "warn"]))
                self.add(
                    "margin_events", at(days[s], 15.5), self.known(days[s]), account_id=account,
                    kind=kind, amount_amt=int(rng.integers(1, 10**6)),
                    deadline_at=at(days[s], 39) if kind == "call" else None,
                )  # fmt: skip

    def session(self, account: str, s: int, held: dict[int, tuple[int, int, int]]) -> None:
        """Trades of a session, with the holdings that end and start, and the balance."""
        rng, day = self.rng, self.days[s]
        for symbol in range(len(SYMBOLS)):
            if rng.random() > 0.12 or self.close[s, symbol] < 0:
                continue
            start, quantity, cost = held.get(symbol, (s, 0, 0))
            sell = quantity > 0 and rng.random() < 0.5
            size = min(quantity, 100 * int(rng.integers(1, 9))) if sell else 100 * int(
                rng.integers(1, 9)
            )  # fmt: skip
            price = int(self.close[s, symbol]) + int(rng.integers(-900, 900))
            # A custodian sends the states of a holding in order, be they late.
            known = max(self.known(day), self.told.get((account, symbol), at(day, 0)))
            known += dt.timedelta(microseconds=1)
            self.told[account, symbol] = known
            self.add(
                "trades", at(day, 10 + symbol / 4), known, trade_id=f"{account}-{s}-{symbol}",
                account_id=account, symbol=SYMBOLS[symbol], side="sell" if sell else "buy",
                quantity_shares=size, price=price, financed=False,
            )  # fmt: skip
            if quantity:
                self.position(account, symbol, start, s - 1, quantity, cost, known)
            left = quantity - size if sell else quantity + size
            cost = cost * left // quantity if sell else cost + size * price // 100
            held[symbol] = (s, left, cost)
            if left == 0:
                del held[symbol]
            else:
                self.position(account, symbol, s, None, left, cost, known)
        if rng.random() < 0.04:
            return
        for version in range(2 if rng.random() < 0.05 else 1):
            self.add(
                "balances", at(day, 15), self.known(day) + dt.timedelta(days=2 * version),
                account_id=account, session=day, cash_amt=int(rng.integers(0, 2 * 10**6)),
                debt_amt=int(rng.integers(0, 4 * 10**6)) if rng.random() < 0.9 else 0,
                accrued_amt=int(rng.integers(0, 1000)),
            )  # fmt: skip

    def position(
        self, account: str, symbol: int, start: int, end: int | None, quantity: int, cost: int,
        known: dt.datetime,
    ) -> None:  # fmt: skip
        self.add(
            "positions", at(self.days[start], 15), known, account_id=account,
            symbol=SYMBOLS[symbol], from_session=self.days[start],
            to_session=None if end is None else self.days[end], quantity_shares=quantity,
            cost_amt=cost,
        )  # fmt: skip


@pytest.fixture(scope="session")
def random_rows(panel: PricePanel) -> Callable[[int], Rows]:
    """Rows of a random lake, by seed."""
    return lambda seed: RandomRows(seed, panel).rows


@pytest.fixture(scope="session")
def write_lake() -> Callable[[Path, Rows], Path]:
    """Write rows as a lake of one bucket."""

    def write(root: Path, rows: Rows) -> Path:
        create_lake(root, LakeInfo("CNY", "XSHG", 1, "test"))
        for name, table in rows.items():
            columns: dict[str, Any] = {}
            for c in TABLES[name].columns:
                values = [row[c.name] for row in table]
                if pa.types.is_decimal(c.arrow_type):
                    columns[c.name] = np.array(
                        [NULL if v is None else v for v in values], dtype=np.int64
                    )
                else:
                    columns[c.name] = values
            write_bucketed(root, name, columns, np.zeros(len(table), dtype=np.int64), 1)
        return root

    return write


class Plain:
    """One client at one cut-off, by loops over dictionaries."""

    def __init__(self, rows: Rows, panel: PricePanel, t: int) -> None:
        self.panel, self.t = panel, t
        self.days: list[dt.date] = panel.sessions.tolist()
        self.cut_offs = [
            cast(dt.datetime, cut_off(d, panel.mic).item()).replace(tzinfo=dt.UTC)
            for d in self.days
        ]
        cut = self.cut_offs[t]
        self.seen: dict[str, list[Row]] = {}
        for name, key in KEYS.items():
            best: dict[tuple[Any, ...], Row] = {}
            for row in rows[name]:
                if max(row["event_at"], row["known_at"]) <= cut:
                    k = tuple(row[c] for c in key)
                    if k not in best or row["known_at"] >= best[k]["known_at"]:
                        best[k] = row
            self.seen[name] = list(best.values())
        today = self.days[t]
        self.open = {
            a["account_id"]: a["client_id"]
            for a in self.seen["accounts"]
            if a["opened_on"] <= today and not (a["closed_on"] and a["closed_on"] <= today)
        }
        self.all = {a["account_id"]: a["client_id"] for a in self.seen["accounts"]}
        self.clients = sorted(set(self.open.values()))

    def session_of(self, instant: dt.datetime) -> int:
        return next(s for s, c in enumerate(self.cut_offs) if instant <= c)

    def price(self, s: int, symbol: str) -> int:
        value = int(self.panel.close[s, self.panel.symbols.index(symbol)])
        return 0 if value == NULL else value

    def held(self, account: str, s: int) -> list[Row]:
        return [
            p
            for p in self.seen["positions"]
            if p["account_id"] == account
            and p["from_session"] <= self.days[s]
            and (p["to_session"] is None or p["to_session"] >= self.days[s])
            and p["quantity_shares"] > 0
        ]

    def accounts(self, client: str) -> list[str]:
        return [a for a, c in self.open.items() if c == client]

    def balance(self, account: str, s: int) -> Row | None:
        mine = [
            b
            for b in self.seen["balances"]
            if b["account_id"] == account and b["session"] <= self.days[s]
        ]
        return max(mine, key=lambda b: b["session"]) if mine else None

    def money(self, client: str, s: int) -> tuple[int, int, int] | None:
        """Assets, principal, interest; None before the first balance."""
        if s < 0:
            return None
        found = [b for a in self.accounts(client) if (b := self.balance(a, s))]
        if not found:
            return None
        cash = sum(b["cash_amt"] for b in found)
        return (
            cash + self.securities(client, s),
            sum(b["debt_amt"] for b in found),
            sum(b["accrued_amt"] for b in found),
        )

    def securities(self, client: str, s: int) -> int:
        held = [p for a in self.accounts(client) for p in self.held(a, s)]
        value: int = sum(p["quantity_shares"] * self.price(s, p["symbol"]) for p in held)
        return value // 100

    def nav(self, client: str, s: int) -> int | None:
        m = self.money(client, s)
        return None if m is None else m[0] - m[1] - m[2]

    def flows(self, client: str, s: int, kinds: tuple[str, ...]) -> int:
        return sum(
            f["amount_amt"]
            for f in self.seen["cash_flows"]
            if self.all.get(f["account_id"]) == client
            and f["kind"] in kinds
            and self.session_of(f["event_at"]) == s
        )

    def external(self, client: str, s: int) -> int:
        return self.flows(client, s, ("deposit", "withdrawal", "cash_cure", "write_off"))

    def growth(self, client: str, first: int) -> list[float]:
        index = [1.0]
        for s in range(first + 1, self.t + 1):
            before, after = self.nav(client, s - 1), self.nav(client, s)
            factor = 1.0
            if before is not None and after is not None and before > 0:
                factor = max((after - self.external(client, s)) / before, 0.0)
            index.append(index[-1] * factor)
        return index

    def window(self, sessions: int) -> range:
        return range(max(0, self.t - sessions + 1), self.t + 1)

    def trades(self, client: str, sessions: int) -> list[tuple[int, Row]]:
        found = []
        for trade in self.seen["trades"]:
            s = self.session_of(trade["executed_at"])
            if self.all.get(trade["account_id"]) == client and s > self.t - sessions:
                found.append((s, trade))
        return found

    def mean_assets(self, client: str) -> float | None:
        known = [m[0] for s in self.window(60) if (m := self.money(client, s))]
        return sum(known) / len(known) if known and sum(known) > 0 else None

    def values(self, client: str) -> dict[str, int]:
        held: dict[str, int] = {}
        for account in self.accounts(client):
            for p in self.held(account, self.t):
                held[p["symbol"]] = held.get(p["symbol"], 0) + p["quantity_shares"]
        return {k: q * self.price(self.t, k) for k, q in held.items()}

    def events(self, client: str, kind: str, sessions: int) -> list[int]:
        found = [
            self.session_of(e["event_at"])
            for e in self.seen["margin_events"]
            if self.all.get(e["account_id"]) == client and e["kind"] == kind
        ]
        return [s for s in found if s > self.t - sessions]


@pytest.fixture(scope="session")
def plain_reading() -> type[Plain]:
    """Rows at a cut-off, read by plain loops."""
    return Plain


@pytest.fixture(scope="session", autouse=True)
def _no_floating_point_warnings() -> Iterator[None]:
    """A silent NaN or overflow inside a definition is a fault."""
    with np.errstate(all="raise", under="ignore"):
        yield
