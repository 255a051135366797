"""Law 5: the future changes no feature, and no order of arrival does."""

from __future__ import annotations

import copy
import datetime as dt
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.units import NULL
from features.asof import BookHistory
from features.build import build_frame
from features.calendar import cut_off
from features.panel import PricePanel
from features.sets import BEHAVIOURAL

Row = dict[str, Any]
Rows = dict[str, list[Row]]
T = 60
AMOUNTS = (
    "cash_amt", "debt_amt", "accrued_amt", "amount_amt", "cost_amt", "quantity_shares", "price",
    "net_worth_amt", "experience_months", "literacy_score",
)  # fmt: skip


def frame_at(rows: Rows, panel: PricePanel, write: Callable[[Path, Rows], Path]) -> FeatureFrame:
    with tempfile.TemporaryDirectory() as folder:
        history = BookHistory.load(write(Path(folder), rows), panel)
    return build_frame(history.as_of(panel.sessions[T].item()), BEHAVIOURAL)


def same(a: FeatureFrame, b: FeatureFrame) -> bool:
    return a.client_ids == b.client_ids and bool(np.array_equal(a.values, b.values))


def end_of(panel: PricePanel) -> dt.datetime:
    instant = cast(dt.datetime, cut_off(panel.sessions[T].item(), panel.mic).item())
    return instant.replace(tzinfo=dt.UTC)


def visible(row: Row, cut: dt.datetime) -> bool:
    return bool(max(row["event_at"], row["known_at"]) <= cut)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), seed=st.integers(0, 3))
def test_rows_after_the_cut_off_change_no_feature(
    data: st.DataObject,
    seed: int,
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
) -> None:
    cut = end_of(panel)
    rows = random_rows(seed)
    before = frame_at(rows, panel, write_lake)
    changed: Rows = {}
    for name, table in rows.items():
        kept = []
        for row in copy.deepcopy(table):
            if not visible(row, cut):
                act = data.draw(st.sampled_from(("keep", "drop", "change")))
                if act == "drop":
                    continue
                if act == "change":
                    spoil(row, data.draw(st.integers(1, 10**6)))
            kept.append(row)
        # New facts, and later versions of old ones, that become known only after the cut-off.
        for number in data.draw(st.lists(st.integers(0, max(len(table) - 1, 0)), max_size=5)):
            if table:
                later = copy.deepcopy(table[number])
                spoil(later, number + 17)
                later["known_at"] = cut + dt.timedelta(microseconds=1 + number)
                kept.append(later)
        changed[name] = kept
    assert same(before, frame_at(changed, panel, write_lake))


def spoil(row: Row, amount: int) -> None:
    for name in AMOUNTS:
        if row.get(name) is not None:
            row[name] = amount
    if "closed_on" in row:
        row["closed_on"] = row["opened_on"]
    if "to_session" in row:
        row["to_session"] = row["from_session"]
    if row.get("kind") == "deposit":
        row["kind"] = "withdrawal"


def test_prices_after_the_session_change_no_feature(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
) -> None:
    rows = random_rows(1)
    future = {**panel.__dict__}
    for name in ("close", "pre_close", "volume_shares", "suspended", "price_limit", "index_close"):
        future[name] = future[name].copy()
        future[name][T + 1 :] = 7
    before = frame_at(rows, panel, write_lake)
    assert same(before, frame_at(rows, PricePanel(**future), write_lake))


@settings(max_examples=15, deadline=None)
@given(order=st.randoms(use_true_random=False), seed=st.integers(0, 3))
def test_every_order_of_arrival_gives_the_same_features(
    order: Any,
    seed: int,
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
) -> None:
    rows = random_rows(seed)
    shuffled = {name: order.sample(table, len(table)) for name, table in rows.items()}
    assert same(frame_at(rows, panel, write_lake), frame_at(shuffled, panel, write_lake))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_history_with_the_future_equals_a_lake_cut_at_the_instant(
    seed: int,
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
) -> None:
    rows = random_rows(seed)
    cut = end_of(panel)
    known = {name: [r for r in table if visible(r, cut)] for name, table in rows.items()}
    assert same(frame_at(rows, panel, write_lake), frame_at(known, panel, write_lake))


def one_balance(
    rows: Rows, panel: PricePanel, versions: list[tuple[int, dt.datetime]]
) -> tuple[Rows, int]:
    """The lake with the balance of account a1 at session T told in the given versions."""
    out = copy.deepcopy(rows)
    day = panel.sessions[T].item()
    pattern = next(b for b in out["balances"] if b["account_id"] == "a1")
    out["balances"] = [b for b in out["balances"] if b["account_id"] != "a1" or b["session"] != day]
    for cash, known in versions:
        out["balances"].append(
            pattern | {"session": day, "cash_amt": cash, "known_at": known, "event_at": known}
        )
    return out, 0


def cash_of_a1(rows: Rows, panel: PricePanel, write: Callable[[Path, Rows], Path]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        book = BookHistory.load(write(Path(folder), rows), panel).as_of(panel.sessions[T].item())
    client = book.account_client[book.account_ids.index("a1")]
    assert book.cash[client] == book.paths.cash[client, -1]
    return int(book.cash[client])


def test_of_two_versions_the_later_known_counts_and_of_equal_ones_the_later_row(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
) -> None:
    rows, cut = random_rows(2), end_of(panel)
    early, late = cut - dt.timedelta(hours=2), cut - dt.timedelta(hours=1)
    after = cut + dt.timedelta(microseconds=1)
    for versions, expected in (
        ([(11, early), (22, late)], 22),
        ([(22, late), (11, early)], 22),
        ([(11, late), (22, late)], 22),
        ([(11, early), (22, cut)], 22),
        ([(11, early), (22, after)], 11),
    ):
        told, _ = one_balance(rows, panel, versions)
        assert cash_of_a1(told, panel, write_lake) == expected


def test_a_late_balance_leaves_the_last_known_one_standing(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
) -> None:
    rows, cut = random_rows(2), end_of(panel)
    late, _ = one_balance(rows, panel, [(11, cut + dt.timedelta(hours=1))])
    none, _ = one_balance(rows, panel, [])
    assert cash_of_a1(late, panel, write_lake) == cash_of_a1(none, panel, write_lake) != 11


def test_a_call_is_open_until_a_cure_a_forced_sale_or_a_default_is_later(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    rows, cut = random_rows(3), end_of(panel)
    base = {"account_id": "a1", "client_id": "c1", "amount_amt": 1, "deadline_at": None}
    call = cut - dt.timedelta(days=3)
    deadline = cut + dt.timedelta(days=1)

    def event(kind: str, when: dt.datetime, **more: object) -> Row:
        return base | {"kind": kind, "event_at": when, "known_at": when} | more

    later = call + dt.timedelta(days=1)
    for k, (extra, is_open) in enumerate(
        (([], True), (["warn"], True), (["cure"], False), (["forced_sale"], False),
         (["default"], False))
    ):  # fmt: skip
        rows["margin_events"] = [event("call", call, deadline_at=deadline)]
        rows["margin_events"] += [event(kind, later) for kind in extra]
        book = BookHistory.load(write_lake(tmp_path / str(k), rows), panel).as_of(
            panel.sessions[T].item()
        )
        assert np.isnat(book.called_on[0]) != is_open
        assert np.isnat(book.deadline_at[0]) != is_open
        assert bool(book.in_default[0]) == (extra == ["default"])


def test_a_book_holds_no_price_after_its_session(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    book = BookHistory.load(write_lake(tmp_path, random_rows(1)), panel).as_of(
        panel.sessions[T].item()
    )
    assert book.t == T
    assert len(book.panel.sessions) == len(book.panel.close) == len(book.returns) == T + 1


def test_applicants_have_kyc_and_no_money(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    history = BookHistory.load(write_lake(tmp_path, random_rows(1)), panel)
    with_account = history.as_of(panel.sessions[T].item())
    everyone = history.as_of(panel.sessions[T].item(), applicants=True)
    assert set(everyone.client_ids) - set(with_account.client_ids) == {"c5"}
    new = everyone.client_ids.index("c5")
    assert everyone.owed[new] == everyone.assets[new] == 0
    frame = build_frame(everyone, BEHAVIOURAL)
    assert frame.column("experience_months")[new] != NULL
    assert frame.column("maintenance_ratio")[new] == NULL
    old = [everyone.client_ids.index(c) for c in with_account.client_ids]
    assert same(frame.take(old), build_frame(with_account, BEHAVIOURAL))


def test_an_unknown_symbol_is_refused_with_its_name(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    write_lake: Callable[[Path, Rows], Path],
    tmp_path: Path,
) -> None:
    rows = random_rows(1)
    rows["positions"][0]["symbol"] = "ZZZ"
    with pytest.raises(InputError, match=r"positions\.symbol: 'ZZZ' is not known"):
        BookHistory.load(write_lake(tmp_path, rows), panel)
