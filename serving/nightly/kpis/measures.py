"""What the key figures need from the lake: margin events, fills of forced sales, reviews, old nights."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import orjson
import pyarrow.parquet as pq

from data_contracts.units import RATIO_ONE

YEAR: Final = dt.timedelta(days=365)
OUTCOME_DAYS: Final = 90
"""About 60 sessions: a default within it is the outcome of an override."""


@dataclass(frozen=True)
class Span:
    """The days after ``since`` up to ``until``; the last day alone without a ``since``."""

    since: dt.date | None
    until: dt.date

    @property
    def after(self) -> dt.date:
        """The day before the first."""
        return self.since if self.since is not None else self.until - dt.timedelta(days=1)

    @property
    def days(self) -> int:
        """Calendar days."""
        return max((self.until - self.after).days, 1)


def _rows(sql: str, span: Span, **files: str) -> list[tuple[Any, ...]]:
    given = {"until": span.until, "since": span.after, **files}
    with duckdb.connect() as db:
        return db.execute(sql, given).fetchall()


def _files(root: Path, table: str) -> str:
    return f"{root}/{table}/**/*.parquet"


def _has(root: Path, *tables: str) -> bool:
    return all(any((root / t).rglob("*.parquet")) for t in tables)


def events(root: Path, span: Span) -> dict[str, tuple[int, float]] | None:
    """Accounts with a margin event of each kind in a span, and the events' amounts; None without any table."""
    if not (root / "margin_events").is_dir():
        return None
    sql = """
        SELECT kind, count(DISTINCT account_id), CAST(sum(amount_amt) AS DOUBLE)
        FROM read_parquet($files, hive_partitioning = false)
        WHERE CAST(event_at AS DATE) <= $until AND CAST(event_at AS DATE) > $since GROUP BY kind"""
    found = _rows(sql, span, files=_files(root, "margin_events"))
    return {kind: (int(n), float(amount)) for kind, n, amount in found}


def cured(root: Path, span: Span) -> tuple[int, int]:
    """Calls whose deadline fell in a span, and those cured by it."""
    sql = """
        WITH e AS (SELECT account_id, kind, event_at, deadline_at
                   FROM read_parquet($files, hive_partitioning = false))
        SELECT count(*), count(*) FILTER (WHERE EXISTS (
            SELECT 1 FROM e c WHERE c.kind = 'cure' AND c.account_id = k.account_id
            AND c.event_at > k.event_at AND c.event_at <= k.deadline_at))
        FROM e k WHERE k.kind = 'call' AND CAST(k.deadline_at AS DATE) <= $until
        AND CAST(k.deadline_at AS DATE) > $since"""
    [(calls, done)] = _rows(sql, span, files=_files(root, "margin_events"))
    return int(calls), int(done)


def liquidation_loss(root: Path, span: Span) -> tuple[float | None, int, str]:
    """Basis points between the decision mark and the price of forced sales, fills, and why there is none.

    Fills are sales to repay (``financed``) of an account in the session of its ``forced_sale`` event;
    the mark is the last close before that session. Weighted by value at the mark.
    """
    if not _has(root, "margin_events", "trades", "bars"):
        return None, 0, "the lake lacks margin_events, trades or bars"
    sql = """
        WITH e AS (SELECT DISTINCT account_id, CAST(event_at AS DATE) AS day
                   FROM read_parquet($files, hive_partitioning = false)
                   WHERE kind = 'forced_sale' AND CAST(event_at AS DATE) <= $until
                   AND CAST(event_at AS DATE) > $since),
        t AS (SELECT f.symbol, e.day, CAST(f.quantity_shares AS DOUBLE) AS shares,
                     CAST(f.price AS DOUBLE) AS price
              FROM read_parquet($trades, hive_partitioning = false) f
              JOIN e ON e.account_id = f.account_id AND CAST(f.executed_at AS DATE) = e.day
              WHERE f.side = 'sell' AND f.financed),
        b AS (SELECT symbol, session, CAST(close AS DOUBLE) AS mark
              FROM read_parquet($bars, hive_partitioning = false))
        SELECT count(*), sum(shares * (mark - price)), sum(shares * mark)
        FROM t ASOF JOIN b ON t.symbol = b.symbol AND t.day > b.session"""
    [(fills, lost, worth)] = _rows(
        sql, span, files=_files(root, "margin_events"), trades=_files(root, "trades"),
        bars=_files(root, "bars"),
    )  # fmt: skip
    if not fills or not worth:
        return None, 0, "nothing was force-sold since the published night"
    return float(lost) / float(worth) * 10_000, int(fills), ""


def override_outcome(root: Path, until: dt.date) -> tuple[float | None, int, str]:
    """Share of the clients with an override, old enough to tell, who defaulted within ``OUTCOME_DAYS``."""
    if not _has(root, "reviews", "margin_events", "runs"):
        return None, 0, "the lake has no reviews; `gearline review export` writes them"
    sql = """
        WITH d AS (SELECT decision_id, client_id
                   FROM read_parquet($decisions, hive_partitioning = false)),
        r AS (SELECT DISTINCT d.client_id, CAST(v.acted_at AS DATE) AS day
              FROM read_parquet($reviews, hive_partitioning = false) v
              JOIN d ON d.decision_id = v.decision_id
              WHERE v.side IS NOT NULL AND CAST(v.acted_at AS DATE) <= $since)
        SELECT count(*), count(*) FILTER (WHERE EXISTS (
            SELECT 1 FROM read_parquet($files, hive_partitioning = false) e
            WHERE e.kind = 'default' AND e.client_id = r.client_id
            AND CAST(e.event_at AS DATE) > r.day
            AND CAST(e.event_at AS DATE) <= r.day + 90 AND CAST(e.event_at AS DATE) <= $until))
        FROM r"""
    span = Span(until - dt.timedelta(days=OUTCOME_DAYS), until)
    [(acts, failed)] = _rows(
        sql, span, files=_files(root, "margin_events"), reviews=_files(root, "reviews"),
        decisions=f"{root}/runs/*/bucket=*/decisions.parquet",
    )  # fmt: skip
    if not acts:
        return None, 0, f"no override is {OUTCOME_DAYS} days old"
    return int(failed) / int(acts), int(acts), ""


def mean_margins(root: Path, until: dt.date) -> list[float]:
    """Mean security margin of the names with a price, of each night's market of a year up to a day."""
    found: dict[dt.date, float] = {}
    for path in sorted(root.glob("runs/*/market/market.json")):
        document = orjson.loads(path.read_bytes())
        day = dt.date.fromisoformat(str(document.get("session") or path.parent.parent.name[:10]))
        securities = path.parent / "securities.parquet"
        if not until - YEAR < day <= until or not securities.is_file():
            continue
        table = pq.read_table(securities, columns=["price", "security_margin"], partitioning=None)
        margin = np.asarray(table["security_margin"])[np.asarray(table["price"]) > 0]
        if len(margin):
            found[day] = float(margin.mean()) / RATIO_ONE
    return [found[day] for day in sorted(found)]
