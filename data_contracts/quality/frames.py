"""A lake's tables as pandas frames for Great Expectations, with a column for each cross-row rule.

The column of a rule between rows or tables says whether each row keeps it. It is worked out here
in pandas, from the rule's text and not from the pass's statements, so that both can be compared.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from data_contracts.lake import decimal_to_int, lake_info, read_file, table_files
from data_contracts.quality.results import HELPER
from data_contracts.quality.rules import COST_PERCENT, PRICE_TICK, Rule, rules_of
from data_contracts.row_rules import first_broken, row_rules
from data_contracts.tables import TABLES
from data_contracts.zones import MARKET_ZONES

MAX_ROWS: Final = 1_000_000
"""Rows of a table up to which Great Expectations itself runs."""

PLACE: Final = ["_file", "_row"]


class Frames:
    """The tables of a lake as frames, rows in file order."""

    def __init__(self, root: Path) -> None:
        self.zone = ZoneInfo(MARKET_ZONES.get(lake_info(root).mic, "UTC"))
        self.raw: dict[str, pd.DataFrame] = {}
        self._good: dict[str, pd.DataFrame] = {}
        self._cents: dict[str, dict[str, Any]] = {}
        for name, spec in TABLES.items():
            if not (root / name).is_dir():
                continue
            names = [c.name for c in spec.columns]
            parts, places = [], []
            for path in table_files(root, name):
                part = read_file(path, spec, names, checked=False)[0]
                parts.append(part)
                place = path.relative_to(root).as_posix()
                places.append(pd.DataFrame({"_file": place, "_row": np.arange(part.num_rows)}))
            if parts:
                self._add(name, pa.concat_tables(parts), pd.concat(places, ignore_index=True))

    def _add(self, name: str, table: pa.Table, places: pd.DataFrame) -> None:
        frame = table.to_pandas(integer_object_nulls=True)
        frame = pd.concat([frame, places], axis=1)
        for c in TABLES[name].columns:
            if c.kind in ("money", "price"):
                frame[f"_{c.name}"] = decimal_to_int(table[c.name])
        broken = first_broken(row_rules(TABLES[name]), table)
        frame["_good"] = True if broken is None else broken < 0
        self.raw[name] = frame

    def has(self, *names: str) -> bool:
        """Whether the lake has files of all these tables."""
        return all(name in self.raw for name in names)

    def good(self, name: str, key: tuple[str, ...] | None = None) -> pd.DataFrame:
        """What readers see: rows that keep the row rules, the newest version of each key."""
        if name not in self._good:
            frame = self.raw[name]
            frame = frame[frame["_good"]].sort_values("known_at", kind="stable")
            frame = frame.drop_duplicates(list(key or TABLES[name].key), keep="last").sort_index()
            self._good[name] = frame.copy()
        return self._good[name]

    def day(self, instants: pd.Series[Any]) -> pd.Series[Any]:
        """The market's calendar day of each instant."""
        days: pd.Series[Any] = instants.dt.tz_convert(self.zone).dt.date
        return days

    def suite_frame(self, name: str) -> pd.DataFrame:
        """The frame that the suite of a table runs on."""
        frame = self.raw[name]
        names = [*(c.name for c in TABLES[name].columns), *PLACE]
        out = frame[names].copy()
        for rule in rules_of(name):
            if rule.kind in ("row", "clock") or not self.has(*rule.needs):
                continue
            bad = frame.index.isin(self.broken(rule))
            out[f"{HELPER}{rule.name}"] = ~bad
        return out

    def broken(self, rule: Rule) -> Any:
        """Index labels of the rows of its table that break a rule between rows or tables."""
        if rule.kind == "key":
            return self._key(rule.table)
        if rule.kind == "reference":
            return self._reference(rule)
        if rule.kind == "fresh":
            return self._fresh(rule.table)
        return getattr(self, "_" + rule.name.replace(".", "_"))()

    def _key(self, name: str) -> Any:
        spec = TABLES[name]
        frame = self.raw[name]
        frame = frame[frame["_good"]]
        key = list(dict.fromkeys((*spec.key, "known_at")))
        twice = frame[frame.duplicated(key, keep=False)]
        if twice.empty:
            return []
        content = twice[[c.name for c in spec.columns]].map(repr).agg("|".join, axis=1)
        last = content.groupby([twice[c] for c in key]).transform("last")
        return twice.index[content != last]

    def _reference(self, rule: Rule) -> Any:
        (column,), (home,) = rule.columns, rule.needs
        named = self.raw[rule.table][column].dropna()
        return named.index[~named.isin(self.raw[home][column].dropna())]

    def _fresh(self, name: str) -> Any:
        book = [
            self.day(self.raw[n]["event_at"].dropna()).max()
            for n in ("trades", "cash_flows", "balances")
            if self.has(n) and self.raw[n]["event_at"].notna().any()
        ]
        events = self.raw[name]["event_at"].dropna()
        if not book or events.empty:
            return []
        late = (max(book) - self.day(events).max()).days
        allowed = TABLES[name].fresh_days
        assert allowed is not None
        return events.index[events == events.max()][-1:] if late > allowed else []

    # --- the market --------------------------------------------------------------------------

    def _quotes(self) -> pd.DataFrame:
        bars = self.good("bars")
        quotes = bars.assign(ratio=np.nan)
        if self.has("instruments"):
            of = self.good("instruments").sort_values("session")
            held = {
                k: (g["session"].tolist(), g["price_limit_ratio"].tolist())
                for k, g in of.groupby(["symbol", "mic"])
            }
            ratios = []
            for symbol, mic, session in zip(
                bars["symbol"], bars["mic"], bars["session"], strict=True
            ):
                days, values = held.get((symbol, mic), ([], []))
                k = int(
                    np.searchsorted(
                        np.array(days, dtype="datetime64[D]"), np.datetime64(session), side="right"
                    )
                )
                ratios.append(values[k - 1] if k else None)
            quotes["ratio"] = pd.Series(ratios, index=bars.index, dtype=object)
        cent = Decimal("0.01")

        def limit(close: Any, ratio: Any, sign: int) -> float:
            if close is None or ratio is None or pd.isna(ratio):
                return np.nan
            exact = Decimal(close) * (1 + sign * Decimal(ratio))
            return float(exact.quantize(cent, "ROUND_HALF_UP") * 100) + sign * PRICE_TICK

        pairs = list(zip(quotes["pre_close"], quotes["ratio"], strict=True))
        for column, sign in (("floor", -1), ("ceiling", 1)):
            quotes[column] = [limit(close, ratio, sign) for close, ratio in pairs]
        return quotes

    def _bars_prices_inside_limits(self) -> Any:
        quotes = self._quotes()
        out = pd.Series(False, index=quotes.index)
        for price in ("open", "high", "low", "close"):
            cents = pd.to_numeric(quotes[price].map(lambda p: None if p is None else p * 100))
            out |= (cents < quotes["floor"]) | (cents > quotes["ceiling"])
        return quotes.index[out & ~quotes["suspended"].astype(bool)]

    def _fills(self) -> pd.DataFrame:
        trades = self.raw["trades"].reset_index(names="_index")
        trades["session"] = self.day(trades["executed_at"])
        by = self._quotes().groupby(["symbol", "session"])
        days = by.agg(
            suspended=("suspended", "all"),
            floor=("floor", "min"),
            ceiling=("ceiling", "max"),
            known=("floor", lambda x: x.notna().all()),
        )
        fills = trades.merge(days.reset_index(), on=["symbol", "session"])
        return fills[fills["_price"] > 0]

    def _trades_not_suspended(self) -> Any:
        fills = self._fills()
        return fills.loc[fills["suspended"].astype(bool), "_index"]

    def _trades_price_inside_limits(self) -> Any:
        fills = self._fills()
        fills = fills[fills["known"].astype(bool) & ~fills["suspended"].astype(bool)]
        low = fills["floor"] * (100 - COST_PERCENT)
        high = fills["ceiling"] * (100 + COST_PERCENT)
        return fills.loc[(fills["_price"] < low) | (fills["_price"] > high), "_index"]

    def _sessions_no_overlap(self) -> Any:
        days = self.good("sessions").sort_values(["mic", "session"])
        closed = days.groupby("mic")["close_at"].shift()
        return days.index[(closed > days["open_at"]).fillna(False)]

    # --- the book ----------------------------------------------------------------------------

    def _opened(self) -> dict[str, dt.date]:
        if not self.has("accounts"):
            return {}
        known = self.raw["accounts"].dropna(subset="opened_on")
        first = known.groupby("account_id")["opened_on"].min()
        return {str(who): day for who, day in first.items()}

    def _signed(self, name: str = "quantity_shares") -> pd.Series[Any]:
        trades = self.good("trades")
        return trades[name].astype("int64") * np.where(trades["side"] == "sell", -1, 1)

    def _balances_cash_reconciles(self) -> Any:
        trades, flows = self.good("trades"), self.good("cash_flows")
        paid = (trades["_price"] * trades["quantity_shares"].astype("int64") + 50) // 100
        moves = pd.concat(
            [
                pd.DataFrame(
                    {
                        "who": trades["account_id"],
                        "day": self.day(trades["executed_at"]),
                        "cents": -paid * np.where(trades["side"] == "sell", -1, 1),
                    }
                ),
                pd.DataFrame(
                    {
                        "who": flows["account_id"],
                        "day": self.day(flows["event_at"]),
                        "cents": flows["_amount_amt"],
                    }
                ),
            ]
        )
        by_account = {who: g.sort_values("day") for who, g in moves.groupby("who")}
        opened, first = self._opened(), self.raw["balances"]["session"].dropna().min()
        bad = []
        for who, rows in self.good("balances").sort_values("session").groupby("account_id"):
            own = by_account.get(who)
            ends = np.array(rows["session"].tolist(), dtype="datetime64[D]")
            moved = np.zeros(len(rows), dtype=np.int64)
            if own is not None:
                days = np.array(own["day"].tolist(), dtype="datetime64[D]")
                total = np.r_[0, np.cumsum(own["cents"].to_numpy(np.int64))]
                moved = total[np.searchsorted(days, ends, side="right")]
            gap = rows["_cash_amt"].to_numpy() - rows["_debt_amt"].to_numpy() - moved
            wrong = np.diff(np.r_[0, gap]) != 0
            if not opened.get(str(who), dt.date.min) >= first:
                wrong[0] = False
            bad += rows.index[wrong].tolist()
        return bad

    def _balances_debt_is_sum_of_contracts(self) -> Any:
        key = ("contract_id", "event_at")
        versions = self.good("contracts", key).sort_values("event_at")
        owed = versions["_outstanding_amt"]
        drawn = owed - owed.groupby(versions["contract_id"]).shift(fill_value=0)
        moves = pd.DataFrame(
            {"who": versions["account_id"], "cents": drawn, "day": self.day(versions["event_at"])}
        )
        balances = self.good("balances")
        by_account = dict(list(moves.groupby("who")))
        bad = []
        for who, rows in balances.groupby("account_id"):
            own = by_account.get(who)
            for index, session, debt in zip(
                rows.index, rows["session"], rows["_debt_amt"], strict=True
            ):
                owes = 0 if own is None else int(own.loc[own["day"] <= session, "cents"].sum())
                if owes != debt:
                    bad.append(index)
        return bad

    def _holdings(self) -> Any:
        return self.good("positions").sort_values("from_session").groupby(["account_id", "symbol"])

    def _positions_no_overlap(self) -> Any:
        bad = []
        for _, rows in self._holdings():
            ended = rows["to_session"].shift()
            for k in range(1, len(rows)):
                end = ended.iloc[k]
                if end is None or pd.isna(end) or end >= rows["from_session"].iloc[k]:
                    bad.append(rows.index[k])
        return bad

    def _positions_quantity_reconciles(self) -> Any:
        trades = self.good("trades")
        moves = pd.DataFrame({"day": self.day(trades["executed_at"]), "n": self._signed()})
        by_holding = dict(list(moves.groupby([trades["account_id"], trades["symbol"]])))
        opened, first = self._opened(), self.raw["positions"]["from_session"].dropna().min()
        bad = []
        for who, rows in self._holdings():
            own = by_holding.get(who)
            held, bought = 0, 0
            for k, (index, row) in enumerate(rows.iterrows()):
                until = 0
                if own is not None:
                    until = int(own.loc[own["day"] <= row["from_session"], "n"].sum())
                known = k > 0 or opened.get(who[0], dt.date.min) >= first
                wrong = known and row["quantity_shares"] - held != until - bought
                held, bought = row["quantity_shares"], until
                if k == len(rows) - 1:
                    after = (0 if own is None else int(own["n"].sum())) - until
                    wrong = wrong or after != (0 if pd.isna(row["to_session"]) else -held)
                if wrong:
                    bad.append(index)
        return bad

    def _trades_reach_positions(self) -> Any:
        trades = self.good("trades")
        net = self._signed().groupby([trades["account_id"], trades["symbol"]]).transform("sum")
        positions = self.good("positions")
        held = set(zip(positions["account_id"], positions["symbol"], strict=True))
        never = [p not in held for p in zip(trades["account_id"], trades["symbol"], strict=True)]
        return trades.index[np.array(never, dtype=bool) & (net != 0)]
