"""The laboratory's books balance, obey the rules, and depend on nothing they should not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.columns import TABLES
from data_contracts.errors import InputError
from data_contracts.lake import (
    latest_versions,
    to_arrow,
)
from features.panel import PricePanel
from training.lab import LabBook, MarginRules
from training.lab.behaviour import PARAMETERS
from training.lab.market import tradable
from training.lab.random import client_key, normal, uniform
from training.lab.rules import cn_rules, reg_t_rules

Market = tuple[PricePanel, MarginRules]
CENT = Decimal("0.01")


def arrow(book: LabBook, name: str) -> pa.Table:
    return to_arrow(TABLES[name], book.tables[name])


def rows(book: LabBook, name: str) -> list[dict[str, Any]]:
    return list(arrow(book, name).to_pylist())


def in_order(book: LabBook) -> dict[str, list[dict[str, Any]]]:
    """Balances of each account by session."""
    accounts = defaultdict(list)
    for row in rows(book, "balances"):
        accounts[row["account_id"]].append(row)
    return accounts


def per_session(book: LabBook, name: str) -> dict[tuple[str, Any], list[dict[str, Any]]]:
    found = defaultdict(list)
    for row in rows(book, name):
        found[row["account_id"], row["event_at"].date()].append(row)
    return found


def test_the_markets_are_rough_enough_to_test_on(lab_book: LabBook) -> None:
    kinds = {row["kind"] for row in rows(lab_book, "margin_events")}
    assert {"warn", "call", "cure", "forced_sale", "default"} <= kinds
    flows = {row["kind"] for row in rows(lab_book, "cash_flows")}
    assert {"deposit", "withdrawal", "cash_cure", "interest", "corporate_action"} <= flows


def test_cash_is_reconstructed_to_the_cent_from_flows_trades_and_debt(lab_book: LabBook) -> None:
    trades, flows = per_session(lab_book, "trades"), per_session(lab_book, "cash_flows")
    checked = 0
    for account, balances in in_order(lab_book).items():
        cash = debt = Decimal(0)
        for row in balances:
            key = account, row["session"]
            moved = sum((f["amount_amt"] for f in flows.get(key, [])), Decimal(0))
            for trade in trades.get(key, []):
                amount = (trade["price"] * trade["quantity_shares"]).quantize(CENT, ROUND_HALF_UP)
                moved += amount if trade["side"] == "sell" else -amount
            assert row["cash_amt"] == cash + moved + row["debt_amt"] - debt, key
            assert row["cash_amt"] >= 0
            cash, debt = row["cash_amt"], row["debt_amt"]
            checked += 1
    assert checked == lab_book.client_sessions


def test_holdings_are_the_running_sum_of_trades(lab_book: LabBook) -> None:
    held: dict[tuple[str, str], int] = defaultdict(int)
    by_key = defaultdict(list)
    for trade in rows(lab_book, "trades"):
        by_key[trade["account_id"], trade["symbol"]].append(trade)
    current = latest_versions(arrow(lab_book, "positions"), TABLES["positions"].key).to_pylist()
    spans = defaultdict(list)
    for row in current:
        spans[row["account_id"], row["symbol"]].append(row)
    assert set(spans) <= set(by_key)
    for key, trades in by_key.items():
        at_end: dict[Any, int] = {}
        for trade in trades:
            signed = trade["quantity_shares"] * (1 if trade["side"] == "buy" else -1)
            held[key] += signed
            assert held[key] >= 0
            at_end[trade["event_at"].date()] = held[key]
        opened = {row["from_session"]: row["quantity_shares"] for row in spans[key]}
        assert opened == {day: shares for day, shares in at_end.items() if shares > 0}
        ordered = sorted(spans[key], key=lambda r: r["from_session"])
        for one, two in pairwise(ordered):
            assert one["to_session"] is not None
            assert one["to_session"] < two["from_session"]
        assert (ordered[-1]["to_session"] is None) == (held[key] > 0)


def test_debt_and_interest_are_the_sum_over_contracts(lab_book: LabBook) -> None:
    states = defaultdict(list)
    for row in rows(lab_book, "contracts"):
        states[row["account_id"]].append(row)
    for account, balances in in_order(lab_book).items():
        versions, k = states.get(account, []), 0
        owed: dict[str, Decimal] = {}
        for row in balances:
            stale = False
            while k < len(versions) and versions[k]["event_at"] <= row["event_at"]:
                owed[versions[k]["contract_id"]] = versions[k]["outstanding_amt"]
                stale, k = versions[k]["event_at"] == row["event_at"], k + 1
            assert row["debt_amt"] == sum(owed.values(), Decimal(0)), (account, row["session"])
            assert stale or row["accrued_amt"] >= 0
            assert row["debt_amt"] > 0 or row["accrued_amt"] == 0


def test_interest_is_rate_times_days_over_360_and_paid_at_month_end(
    lab_book: LabBook, lab_market: Market
) -> None:
    rules = lab_market[1]
    rate = int(rules.rate_bps[0])
    contracts = per_session(lab_book, "contracts")
    flows = per_session(lab_book, "cash_flows")
    checked = 0
    for account, balances in in_order(lab_book).items():
        for one, two in pairwise(balances):
            key = account, two["session"]
            paid = -sum((f["amount_amt"] for f in flows.get(key, []) if f["kind"] == "interest"), 0)
            days = (two["session"] - one["session"]).days
            due = one["debt_amt"] * rate * days / Decimal(3_600_000)
            grown = two["accrued_amt"] + paid - one["accrued_amt"]
            assert abs(grown - due) <= CENT * 7, key  # half a cent for each of up to 12 contracts
            if one["session"].month != two["session"].month and rules.kind == "reg_t":
                assert one["accrued_amt"] == 0
            checked += bool(due)
    assert checked > 1000
    assert contracts


def test_no_trade_in_a_suspended_or_locked_name(lab_book: LabBook, lab_market: Market) -> None:
    panel = lab_market[0]
    day = {d.item(): k for k, d in enumerate(panel.sessions)}
    name = {n: k for k, n in enumerate(panel.symbols)}
    buyable, sellable = tradable(panel)
    left = 0
    for trade in rows(lab_book, "trades"):
        s, n = day[trade["event_at"].date()], name[trade["symbol"]]
        assert not panel.suspended[s, n]
        if trade["side"] == "buy":
            assert buyable[s, n]
        elif panel.close[s, n] < 0:
            left += 1  # sold at the last close because the name left the exchange
        else:
            assert sellable[s, n]
    assert left > 0


def test_a_locked_close_is_at_or_beyond_the_rounded_limit(lab_market: Market) -> None:
    panel = lab_market[0]
    buyable, sellable = tradable(panel)
    free = (panel.close > 0) & ~panel.suspended
    if panel.currency == "USD":
        assert np.array_equal(buyable, free)
        return
    move = panel.close / panel.pre_close - 1.0
    assert not np.any(free & (move > 0.104) & buyable)
    assert np.any(free & ~sellable)
    assert np.all(buyable[free & (np.abs(move) < 0.09)])


def test_shares_bought_today_are_not_sold_today(lab_book: LabBook) -> None:
    sides = defaultdict(set)
    for trade in rows(lab_book, "trades"):
        sides[trade["account_id"], trade["symbol"], trade["event_at"]].add(trade["side"])
    assert all(len(found) == 1 for found in sides.values())


def test_calls_have_deadlines_and_every_default_has_a_cause(
    lab_book: LabBook, lab_market: Market
) -> None:
    panel, rules = lab_market
    close = [c.item() for c in panel.close_at.astype("datetime64[us]")]
    events = per_session(lab_book, "margin_events")
    history = defaultdict(list)
    for row in rows(lab_book, "margin_events"):
        history[row["account_id"]].append(row)
    for account, found in history.items():
        pending = None
        for row in found:
            at = row["event_at"].replace(tzinfo=None)
            same = {e["kind"] for e in events[account, row["event_at"].date()]}
            if row["kind"] == "call":
                assert row["deadline_at"] > row["event_at"]
                k = close.index(at) + rules.deadline_sessions
                if k < len(close):
                    assert row["deadline_at"].replace(tzinfo=None) == close[k]
                pending = row
            elif row["kind"] == "cure":
                assert pending is not None
                assert row["event_at"] <= pending["deadline_at"]
                assert row["amount_amt"] == pending["amount_amt"]
                pending = None
            elif row["kind"] == "default":
                uncured = pending is not None and row["event_at"] == pending["deadline_at"]
                assert (
                    uncured
                    or {"forced_sale", "shortfall"} & same
                    or _stuck(lab_book, panel, account, row)
                )
                pending = None
            if row["kind"] != "call":
                assert row["deadline_at"] is None


def _stuck(book: LabBook, panel: PricePanel, account: str, event: dict[str, Any]) -> bool:
    """Whether some holding could not be sold at that session."""
    s = int(np.searchsorted(panel.sessions, np.datetime64(event["event_at"].date())))
    sellable = tradable(panel)[1]
    return any(
        not sellable[s, panel.symbols.index(row["symbol"])]
        for row in rows(book, "positions")
        if row["account_id"] == account
    )


def test_a_forced_sale_restores_the_target_or_sells_all_it_can(
    lab_book: LabBook, lab_market: Market
) -> None:
    panel, rules = lab_market
    day = {d.item(): k for k, d in enumerate(panel.sessions)}
    balance = {(r["account_id"], r["session"]): r for r in rows(lab_book, "balances")}
    current = latest_versions(arrow(lab_book, "positions"), TABLES["positions"].key).to_pylist()
    sellable = tradable(panel)[1]
    seen = 0
    for row in rows(lab_book, "margin_events"):
        if row["kind"] != "forced_sale":
            continue
        session = row["event_at"].date()
        end = balance[row["account_id"], session]
        debt = end["debt_amt"] + end["accrued_amt"]
        assets, could_sell = end["cash_amt"], False
        for held in current:
            if held["account_id"] != row["account_id"] or held["from_session"] > session:
                continue
            if held["to_session"] is not None and held["to_session"] < session:
                continue
            n = panel.symbols.index(held["symbol"])
            price = Decimal(int(panel.close[day[session], n])) / 10_000
            assets += price * held["quantity_shares"]
            could_sell |= bool(sellable[day[session], n])
        assert not could_sell or assets * 1_000_000 >= (rules.target - 10) * debt
        seen += 1
    assert seen > 3


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(
    run_lab: Callable[..., LabBook], lab_book: LabBook
) -> None:
    other = run_lab(threads=2)
    for name in lab_book.tables:
        assert arrow(lab_book, name).equals(arrow(other, name)), name
    assert not arrow(run_lab(seed=6), "trades").equals(arrow(lab_book, "trades"))


def test_more_clients_change_no_earlier_client(
    run_lab: Callable[..., LabBook], lab_book: LabBook
) -> None:
    few = run_lab(clients=37)
    for name in few.row_client:
        kept = pa.array(lab_book.row_client[name] < 37)
        assert arrow(lab_book, name).filter(kept).equals(arrow(few, name)), name


@pytest.mark.parametrize("cut", [262, 300])
def test_prices_after_a_day_change_no_row_that_happened_before(
    cut: int, run_lab: Callable[..., LabBook], lab_book: LabBook, lab_market: Market
) -> None:
    panel = lab_market[0]
    close, pre = panel.close.copy(), panel.pre_close.copy()
    later = close[cut:] > 0
    close[cut:][later] = close[cut:][later] * 8 // 1000 * 100
    pre[cut:][later] = pre[cut:][later] * 9 // 1000 * 100
    other = run_lab(market=replace(panel, close=close, pre_close=pre))
    limit = panel.close_at[cut].astype("datetime64[us]")
    for name in lab_book.tables:
        one, two = (
            arrow(b, name).filter(pa.array(np.asarray(b.tables[name]["event_at"]) < limit))
            for b in (lab_book, other)
        )
        assert one.num_rows > 0
        assert one.equals(two), name
    assert not arrow(other, "balances").equals(arrow(lab_book, "balances"))


def test_everything_but_kyc_is_known_within_two_hours_and_kyc_later(lab_book: LabBook) -> None:
    for name, columns in lab_book.tables.items():
        late = np.asarray(columns["known_at"]) - np.asarray(columns["event_at"])
        assert np.all(late >= np.timedelta64(0))
        if name in ("clients", "client_protected"):
            assert np.all(late >= np.timedelta64(1, "D"))
        else:
            assert np.all(late < np.timedelta64(2, "h")), name


def test_rows_fit_their_contracts(lab_book: LabBook) -> None:
    for name in lab_book.tables:
        spec, table = TABLES[name], arrow(lab_book, name)
        assert table.schema == spec.arrow_schema
        for column in spec.columns:
            values = table[column.name]
            assert column.nullable or values.null_count == 0, (name, column.name)
            present = values.drop_null().unique().to_pylist()
            if column.choices:
                assert set(present) <= set(column.choices), (name, column.name)
            if column.low is not None and present:
                assert min(present) >= column.low, (name, column.name)
        key = list(zip(*(table[k].to_pylist() for k in (*spec.key, "known_at")), strict=True))
        assert len(set(key)) == len(key), name


def test_no_outcome_rate_is_a_parameter() -> None:
    assert not [p for p in PARAMETERS if "default" in p or "call" in p or "loss" in p]


def test_bad_input_names_the_rule(run_lab: Callable[..., LabBook]) -> None:
    with pytest.raises(InputError, match="a book has 1 to 1000000 clients, not 0"):
        run_lab(clients=0)
    with pytest.raises(InputError, match="lines must fall"):
        replace(cn_rules(3), warn=1_200_000)
    with pytest.raises(InputError, match="both are one value a panel session"):
        replace(reg_t_rules(3), rate_bps=np.zeros(2, dtype=np.int64))


def test_random_numbers_are_uniform_normal_and_independent_of_order() -> None:
    keys = [client_key(3, n) for n in range(40)]
    u = np.array([uniform(np.uint64(k), s, d) for k in keys for s in range(40) for d in range(8)])
    z = np.array([normal(np.uint64(k), s, 0) for k in keys for s in range(300)])
    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * len(u))
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs(z.std() - 1.0) < 0.03
    assert len(np.unique(u)) == len(u)
    assert 0.0 < u.min() < u.max() < 1.0
    assert uniform(np.uint64(keys[7]), 11, 5) == u[7 * 320 + 11 * 8 + 5]
