"""A lake tells by itself what its accounts held, owed and were worth, at every session."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.checks import check_lake
from data_contracts.lake import bucket_of, lake_info, read_table
from data_contracts.units import NULL
from features.panel import PricePanel
from tests.lab.markets import write_market
from training.lab import LabBook, MarginRules, simulate, write_lake
from training.lab.measure import account_book, connect

Market = tuple[PricePanel, MarginRules]


def worst(lake: Path, panel: PricePanel) -> tuple[int, int, int]:
    """Largest difference in fen to the engine's assets, sessions compared, sessions in debt."""
    days = panel.sessions
    truth = pa.concat_tables(pq.read_table(p) for p in (lake / "truth").glob("assets-*.parquet"))
    with connect(lake, 1) as connection:
        account_book(connection, days[0].item(), days[-1].item(), 1)
        connection.register("truth", truth)
        found: Any = connection.execute("""
            SELECT max(abs(CAST(t.assets_amt * 100 AS BIGINT) - b.assets_fen)), count(*),
              count(*) FILTER (b.debt_fen > 0)
            FROM truth t FULL JOIN book b USING (account_id, session)""").fetchone()
        missing: Any = connection.execute("""
            SELECT count(*) FROM truth t FULL JOIN book b USING (account_id, session)
            WHERE t.assets_amt IS NULL OR b.assets_fen IS NULL""").fetchone()
    assert missing[0] == 0
    return int(found[0]), int(found[1]), int(found[2])


def test_assets_and_ratios_are_rebuilt_to_the_fen_at_every_session(
    lab_book: LabBook, lab_lake: Path, lab_market: Market
) -> None:
    difference, compared, in_debt = worst(lab_lake, lab_market[0])
    assert difference == 0
    assert compared == lab_book.client_sessions
    assert in_debt > compared // 20


def test_a_session_without_a_bar_is_rebuilt_too(lab_market: Market, tmp_path: Path) -> None:
    panel, rules = lab_market
    close, pre = panel.close.copy(), panel.pre_close.copy()
    close[[100, 180, 181], [6, 4, 4]] = pre[[100, 180, 181], [6, 4, 4]] = NULL
    gap = replace(panel, close=close, pre_close=pre)
    write_market(gap, tmp_path / "market")
    days = panel.sessions
    book = simulate(
        gap, rules, clients=200, seed=5, first=days[0].item(), last=days[-1].item(), threads=1
    )
    write_lake(book, gap, tmp_path / "market", tmp_path / "lake", buckets=4)
    assert worst(tmp_path / "lake", gap)[0] == 0


def test_cash_moves_by_flows_trades_and_debt_alone(lab_lake: Path) -> None:
    flows = str(lab_lake / "cash_flows" / "*" / "*.parquet")
    with connect(lab_lake, 1) as connection:
        wrong: Any = connection.execute(f"""
            WITH traded AS (SELECT account_id, CAST(executed_at AS DATE) AS session,
                sum(CASE side WHEN 'sell' THEN 1 ELSE -1 END
                  * CAST(floor(price * quantity_shares * 100 + 0.5) AS BIGINT)) AS fen
                FROM trades GROUP BY ALL),
              flowed AS (SELECT account_id, CAST(event_at AS DATE) AS session,
                sum(CAST(amount_amt * 100 AS BIGINT)) AS fen FROM read_parquet('{flows}')
                GROUP BY ALL),
              moved AS (SELECT account_id, session, CAST((cash_amt - debt_amt
                - coalesce(lag(cash_amt - debt_amt) OVER (PARTITION BY account_id ORDER BY session),
                  0)) * 100 AS BIGINT) AS fen FROM balances)
            SELECT count(*), count(*) FILTER (
              m.fen <> coalesce(t.fen, 0) + coalesce(f.fen, 0)) FROM moved m
            LEFT JOIN traded t USING (account_id, session)
            LEFT JOIN flowed f USING (account_id, session)""").fetchone()
    assert wrong[0] > 10_000
    assert wrong[1] == 0


def test_debt_is_the_sum_over_the_versions_of_contracts_then_known(lab_lake: Path) -> None:
    contracts = str(lab_lake / "contracts" / "*" / "*.parquet")
    with connect(lab_lake, 1) as connection:
        wrong: Any = connection.execute(f"""
            WITH version AS (SELECT account_id, CAST(event_at AS DATE) AS session,
                outstanding_amt - coalesce(lag(outstanding_amt) OVER (
                  PARTITION BY contract_id ORDER BY event_at), 0) AS change
                FROM read_parquet('{contracts}')),
              drawn AS (SELECT account_id, session, sum(change) AS change FROM version
                GROUP BY ALL),
              moved AS (SELECT account_id, session, debt_amt - coalesce(lag(debt_amt)
                OVER (PARTITION BY account_id ORDER BY session), 0) AS change FROM balances)
            SELECT count(*) FILTER (m.change <> coalesce(d.change, 0)), count(d.change)
            FROM moved m LEFT JOIN drawn d USING (account_id, session)""").fetchone()
    assert wrong[0] == 0
    assert wrong[1] > 1000


def test_shares_held_are_the_running_sum_of_trades(lab_lake: Path) -> None:
    with connect(lab_lake, 1) as connection:
        account_book(connection, *_ends(connection), 1)
        wrong: Any = connection.execute("""
            WITH day AS (SELECT account_id, symbol, CAST(executed_at AS DATE) AS session,
                sum(CASE side WHEN 'sell' THEN -1 ELSE 1 END * quantity_shares) AS shares
                FROM trades GROUP BY ALL),
              run AS (SELECT account_id, symbol, session, sum(shares) OVER (
                PARTITION BY account_id, symbol ORDER BY session) AS shares FROM day)
            SELECT count(*), count(*) FILTER (run.shares <> coalesce(h.quantity_shares, 0))
            FROM run LEFT JOIN held h ON h.account_id = run.account_id AND h.symbol = run.symbol
              AND run.session BETWEEN h.from_session AND h.to_session""").fetchone()
    assert wrong[0] > 1000
    assert wrong[1] == 0


def _ends(connection: Any) -> tuple[Any, Any]:
    found: tuple[Any, Any] = connection.execute(
        "SELECT min(session), max(session) FROM lent"
    ).fetchone()
    return found


def test_the_lake_holds_the_book_and_its_market(
    lab_book: LabBook, lab_lake: Path, lab_folder: Path
) -> None:
    for name in ("bars", "sessions", "instruments"):
        copied = lab_lake / name / "part-0.parquet"
        assert copied.read_bytes() == (lab_folder / name / "part-0.parquet").read_bytes()
    assert read_table(lab_lake, "balances").num_rows == lab_book.client_sessions
    groups = dict(zip(lab_book.client_ids, lab_book.group_ids, strict=True))
    for bucket in range(4):
        for client in set(read_table(lab_lake, "trades", bucket=bucket)["client_id"].to_pylist()):
            assert bucket_of(client, groups[client], 4) == bucket
    truth = pq.read_table(lab_lake / "truth" / "clients-0.parquet")
    assert truth["client_id"].to_pylist() == list(lab_book.client_ids)
    assert check_lake(lab_lake).quarantined == 0
    assert lake_info(lab_lake).flags == ()


def test_every_assets_row_is_a_balance(lab_book: LabBook, lab_lake: Path) -> None:
    truth = pq.read_table(lab_lake / "truth" / "assets-0.parquet")
    assert truth.num_rows == lab_book.client_sessions
    assert min(truth["assets_amt"].to_pylist()) >= Decimal(0)
    assert np.asarray(truth["session"]).dtype.kind == "M"


def test_a_lake_is_not_written_over_its_market(
    lab_book: LabBook, lab_market: Market, lab_folder: Path
) -> None:
    with pytest.raises(Exception, match="market itself"):
        write_lake(lab_book, lab_market[0], lab_folder, lab_folder, buckets=4)
