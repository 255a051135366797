"""The labels of a simulated book, worked out a second time in SQL from the tables alone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pytest

from data_contracts.importers.sample import write_sample_market
from features.asof import BookHistory
from features.panel import PricePanel, load_panel
from models.policy import load_pack
from training.lab import simulate, write_lake
from training.labels import (
    Outcomes,
    call_within,
    cohort_of,
    default_within,
    load_outcomes,
)
from training.lender import margin_rules

CLIENTS, BUCKETS = 300, 2
FIRST, LAST = dt.date(2007, 7, 2), dt.date(2009, 6, 30)

# By dates and balances, where the labels go by instants and contracts.
SQL = """
WITH day AS (
    SELECT session, row_number() OVER (ORDER BY session) - 1 AS n FROM read_parquet('{lake}/sessions/**/*.parquet')
), data_end AS (
    SELECT max(n) AS n FROM read_parquet('{lake}/balances/**/*.parquet') b JOIN day USING (session)
), event AS (
    SELECT e.account_id, e.client_id, e.kind, d.n, due.n AS due
    FROM read_parquet('{lake}/margin_events/**/*.parquet') e
    JOIN day d ON d.session = CAST(e.event_at AT TIME ZONE 'UTC' AS DATE)
    LEFT JOIN day due ON due.session = CAST(e.deadline_at AT TIME ZONE 'UTC' AS DATE)
), account AS (
    SELECT a.account_id, a.client_id, o.n AS opened, c.n AS closed
    FROM (
        SELECT account_id, client_id, min(opened_on) AS opened_on, max(closed_on) AS closed_on
        FROM read_parquet('{lake}/accounts/**/*.parquet') GROUP BY ALL
    ) a JOIN day o ON o.session = a.opened_on LEFT JOIN day c ON c.session = a.closed_on
), call AS (
    SELECT e.account_id, e.client_id, e.n, e.due,
        (SELECT min(x.n) FROM event x WHERE x.account_id = e.account_id AND x.n > e.n
            AND x.kind = 'cure') AS cured,
        (SELECT min(d.n) FROM read_parquet('{lake}/balances/**/*.parquet') b JOIN day d USING (session)
            WHERE b.account_id = e.account_id AND b.debt_amt = 0 AND d.n >= e.n) AS repaid,
        (SELECT min(x.n) FROM event x WHERE x.account_id = e.account_id AND x.n >= e.n
            AND x.kind IN ('default', 'forced_sale', 'shortfall')) AS bad
    FROM event e WHERE e.kind = 'call'
), ended AS (
    SELECT *, least(cured, repaid) AS good FROM call
), judged AS (
    SELECT *,
        CASE WHEN bad <= coalesce(good, bad) AND bad <= due THEN bad
             WHEN good <= due THEN NULL
             WHEN due <= (SELECT n FROM data_end) THEN due END AS failed,
        least(bad, good, CASE WHEN due <= (SELECT n FROM data_end) THEN due END) AS over
    FROM ended
), defaulted AS (
    SELECT client_id, n FROM event WHERE kind IN ('default', 'shortfall')
    UNION SELECT client_id, failed FROM judged WHERE failed IS NOT NULL
), row AS (
    SELECT client_id, t, closed FROM account, unnest({rows}) AS x(t)
    WHERE opened <= t AND (closed IS NULL OR closed > t)
)
SELECT t, client_id,
    CASE WHEN t + 60 > (SELECT n FROM data_end) OR bad_before THEN -1
         WHEN EXISTS (FROM defaulted d WHERE d.client_id = r.client_id AND d.n BETWEEN t + 1 AND t + 60) THEN 1
         WHEN closed <= t + 60 THEN -1 ELSE 0 END AS default_60,
    CASE WHEN t + 20 > (SELECT n FROM data_end) OR bad_before OR called THEN -1
         WHEN EXISTS (FROM defaulted d WHERE d.client_id = r.client_id AND d.n BETWEEN t + 1 AND t + 20)
           OR EXISTS (FROM call c WHERE c.client_id = r.client_id AND c.n BETWEEN t + 1 AND t + 20) THEN 1
         WHEN closed <= t + 20 THEN -1 ELSE 0 END AS call_20
FROM (
    SELECT *,
        EXISTS (FROM defaulted d WHERE d.client_id = row.client_id AND d.n BETWEEN t - 59 AND t) AS bad_before,
        EXISTS (FROM judged j WHERE j.client_id = row.client_id AND j.n <= t AND (over IS NULL OR over > t)) AS called
    FROM row
) r ORDER BY t, client_id
"""


def ask(query: str) -> list[tuple[Any, ...]]:
    return duckdb.connect().execute(query).fetchall()


Book = tuple[Path, PricePanel, list[BookHistory], Outcomes, int, int]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Book:
    root = tmp_path_factory.mktemp("labels")
    write_sample_market(root / "market")
    panel = load_panel(root / "market")
    book = simulate(
        panel, margin_rules(load_pack("us"), panel), clients=CLIENTS, seed=4, threads=2,
        first=FIRST, last=LAST,
    )  # fmt: skip
    write_lake(book, panel, root / "market", root / "lake", buckets=BUCKETS)
    histories = [BookHistory.load(root / "lake", panel, k) for k in range(BUCKETS)]
    outcomes = load_outcomes(root / "lake", panel)
    return root / "lake", panel, histories, outcomes, book.first, book.last


@pytest.mark.long
def test_labels_agree_with_sql_row_by_row(simulated: Book) -> None:
    lake, panel, histories, outcomes, first, last = simulated
    rows = list(range(last, first, -7))
    theirs = {(t, client): labels for t, client, *labels in ask(SQL.format(lake=lake, rows=rows))}
    ours = {}
    for t in rows:
        for history in histories:
            book = history.as_of(panel.sessions[t].item())
            cohort = cohort_of(outcomes, book)
            pair = [f(outcomes, cohort).label for f in (default_within, call_within)]
            for k, client in enumerate(book.client_ids):
                ours[t, client] = [int(p[k]) for p in pair]
    assert ours == theirs
    for head in (0, 1):
        seen = [labels[head] for labels in ours.values()]
        assert min(seen.count(value) for value in (-1, 0, 1)) >= 20


@pytest.mark.long
def test_a_lender_that_records_its_defaults_has_no_others(simulated: Book) -> None:
    lake, panel, _, outcomes, _, _ = simulated
    recorded = ask(
        f"SELECT client_id, CAST(event_at AT TIME ZONE 'UTC' AS DATE) FROM"
        f" read_parquet('{lake}/margin_events/**/*.parquet') WHERE kind = 'default'"
    )
    made = {
        (outcomes.client_ids[c], panel.sessions[s].item())
        for c, s in zip(
            outcomes.defaults.client.tolist(), outcomes.defaults.session.tolist(), strict=True
        )
    }
    assert made == set(recorded)
    assert len(made) >= 20


@pytest.mark.long
def test_own_borrowing_adds_up_to_the_change_of_principal_less_interest(simulated: Book) -> None:
    lake, _, _, outcomes, _, _ = simulated
    owed = ask(
        f"SELECT client_id, CAST(100 * max_by(debt_amt, session) AS BIGINT) FROM"
        f" read_parquet('{lake}/balances/**/*.parquet') GROUP BY client_id"
    )
    own = dict.fromkeys(outcomes.client_ids, 0)
    for client, amount in zip(
        outcomes.draws.client.tolist(), outcomes.draws.amount_amt.tolist(), strict=True
    ):
        own[outcomes.client_ids[client]] += amount
    added = [debt - own[client] for client, debt in owed]
    assert min(added) >= 0
    assert 0 < sum(added) < sum(debt for _, debt in owed)
