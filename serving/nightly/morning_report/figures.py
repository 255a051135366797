"""The night's key figures, each with its unit, its definition and where it was read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow.compute as pc

from data_contracts.decision import OUTCOMES
from data_contracts.units import NULL, RATIO_ONE, IntArray
from models.price.rate import RATE_COMPONENTS
from serving.nightly.gate.cases import matrix
from serving.nightly.gate.night import Night
from serving.nightly.segments import read_decisions

BANDS: Final = (1_300_000, 1_500_000, 2_000_000, 3_000_000)
"""Maintenance ratios that part the book, 1e-6."""
BAND_NAMES: Final = (
    "below 130 %",
    "130 to 150 %",
    "150 to 200 %",
    "200 to 300 %",
    "300 % and more",
)
LARGEST: Final = 10
_SEALED: Final = "runs/RUN/bucket=*/decisions.parquet"
_INPUTS: Final = "runs/RUN/bucket=*/inputs.parquet"


def _figure(
    name: str, value: float | int | None, unit: str, en: str, zh: str, source: str, why: str = ""
) -> dict[str, Any]:
    """One figure; ``why`` says what is missing where there is none."""
    shown = None if value is None else f"{value:.6f}" if unit == "ratio" else str(round(value, 2))
    return {
        "kpi": name, "value": shown, "unit": unit, "en": en, "zh": zh, "source": source,
        "why_null": why if value is None else "",
    }  # fmt: skip


def _over(part: float, whole: float) -> float | None:
    return None if whole == 0 else part / whole


def _events(root: Path, since: dt.date | None, until: dt.date) -> dict[str, int] | None:
    """Accounts with a margin event of each kind on a session, or after the published night."""
    if not (root / "margin_events").is_dir():
        return None
    sql = """
        SELECT kind, count(DISTINCT account_id)
        FROM read_parquet($files, hive_partitioning = false)
        WHERE CAST(event_at AS DATE) <= $until AND CAST(event_at AS DATE) > $since GROUP BY kind"""
    after = since if since is not None else until - dt.timedelta(days=1)
    with duckdb.connect() as db:
        files = f"{root}/margin_events/**/*.parquet"
        return dict(db.execute(sql, {"files": files, "until": until, "since": after}).fetchall())


def _cured(root: Path, since: dt.date | None, until: dt.date) -> tuple[int, int]:
    """Calls whose deadline fell since the published night, and those cured by it."""
    sql = """
        WITH e AS (SELECT account_id, kind, event_at, deadline_at
                   FROM read_parquet($files, hive_partitioning = false))
        SELECT count(*), count(*) FILTER (WHERE EXISTS (
            SELECT 1 FROM e c WHERE c.kind = 'cure' AND c.account_id = k.account_id
            AND c.event_at > k.event_at AND c.event_at <= k.deadline_at))
        FROM e k WHERE k.kind = 'call' AND CAST(k.deadline_at AS DATE) <= $until
        AND CAST(k.deadline_at AS DATE) > $since"""
    after = since if since is not None else until - dt.timedelta(days=1)
    with duckdb.connect() as db:
        files = f"{root}/margin_events/**/*.parquet"
        [(calls, cured)] = db.execute(
            sql, {"files": files, "until": until, "since": after}
        ).fetchall()
    return int(calls), int(cured)


def _rates(root: Path, now: Night) -> tuple[IntArray, IntArray]:
    """Rate components and whether a decision has a reason, in row order."""
    components, reasons = [], []
    for name in now.finished["segments"]:
        table = read_decisions(root / name, ["rate_components_bps", "reasons"])
        components.append(matrix(table["rate_components_bps"], len(RATE_COMPONENTS)))
        length = pc.list_value_length(table["reasons"])
        reasons.append(np.asarray(pc.greater(length, 0).fill_null(False)))
    return np.concatenate(components), np.concatenate(reasons)


def _bands(now: Night, debt: IntArray) -> list[dict[str, Any]]:
    owing = now.maintenance != NULL
    place = np.searchsorted(np.array(BANDS), now.maintenance[owing], side="right")
    whole = debt[owing].astype(float).sum()
    return [
        _figure(
            f"book_share_{k + 1}", _over(float(debt[owing][place == k].sum()), float(whole)),
            "ratio", f"Share of the debt at a maintenance ratio {name}",
            f"维持担保比例分布：{name.replace('below', '低于').replace(' to ', ' 至 ').replace('and more', '及以上')}",
            f"{_SEALED}: debt_amt by maintenance_e6", "nobody owes anything",
        )
        for k, name in enumerate(BAND_NAMES)
    ]  # fmt: skip


def kpis(root: Path, before: Night | None, now: Night, overrides: int) -> list[dict[str, Any]]:
    """The key figures of the night.

    Event rates count accounts with an event after the published night up to tonight, over clients
    with debt.
    """
    since = None if before is None else before.as_of
    debt, equity = now.money["debt_amt"], now.money["equity_amt"]
    cap = now.money["max_debt_amt"]
    owing = debt > 0
    debtors = int(owing.sum())
    events = _events(root, since, now.as_of)
    calls, cured = (0, 0) if events is None else _cured(root, since, now.as_of)
    components, with_reason = _rates(root, now)
    weight = debt.astype(float)
    at = {name: components[:, k] for k, name in enumerate(RATE_COMPONENTS)}
    margin = now.rate - at["funding"] - at["expected_loss"]
    sound = owing & (equity > 0)
    leverage = (debt[sound] + equity[sound]) / equity[sound].astype(float)
    adverse = now.outcome > OUTCOMES.index("approve")
    no_events = "the lake has no margin_events"
    e = "margin_events"

    def rate(kind: str) -> float | None:
        return None if events is None else _over(events.get(kind, 0), debtors)

    worth = np.where(now.lot_shares > 0, now.lot_shares, 0) * np.array(
        [max(int(now.market.price[now.market.index[s]]), 0) if s in now.market.index else 0
         for s in now.names] or [0], dtype=float)[now.lot_name]  # fmt: skip
    by_name = np.sort(np.bincount(now.lot_name, weights=worth, minlength=1))[::-1]
    by_client = np.sort(weight)[::-1]
    later = "`gearline stress LAKE` has it; a night alone does not"
    return [
        _figure("liquidation_rate", rate("forced_sale"), "ratio",
                "Accounts force-sold since the published night, over clients with debt",
                "自上次发布以来被强平账户占有负债客户的比例", f"{e}: kind forced_sale", no_events),
        _figure("call_rate", rate("call"), "ratio",
                "Accounts called since the published night, over clients with debt",
                "自上次发布以来被追保账户占有负债客户的比例", f"{e}: kind call", no_events),
        _figure("cure_rate", None if events is None else _over(cured, calls), "ratio",
                "Calls cured by their deadline, of those whose deadline fell since the published night",
                "截止日落在自上次发布以来的追保中按时补足的比例", f"{e}: kind call, cure; deadline_at",
                no_events if events is None else "no deadline fell"),
        _figure("default_rate", rate("shortfall"), "ratio",
                "Accounts with negative equity after a forced sale, over clients with debt",
                "强平后净资产为负的账户占有负债客户的比例", f"{e}: kind shortfall", no_events),
        _figure("leverage", _over(float((debt + equity)[sound].sum()), float(equity[sound].sum())),
                "x", "Assets over equity of all clients with debt together", "有负债客户合计的总资产与净资产之比",
                f"{_SEALED}: debt_amt, equity_amt", "nobody owes anything"),
        _figure("leverage_median", float(np.median(leverage)) if len(leverage) else None, "x",
                "Median of assets over equity of clients with debt", "有负债客户总资产与净资产之比的中位数",
                f"{_SEALED}: debt_amt, equity_amt", "nobody owes anything"),
        _figure("net_interest_margin_bps", _over(float((margin * weight).sum()), float(weight.sum())),
                "bps", "Tonight's rate less funding and expected loss, weighted by debt",
                "当晚利率减资金成本与预期损失，按融资余额加权",
                f"{_SEALED}: rate_bps, rate_components_bps, debt_amt", "nobody owes anything"),
        _figure("utilisation_of_quota", now.market.utilisation / RATIO_ONE, "ratio",
                "Drawn over the lender's quota", "已用额度占总额度的比例", "runs/RUN/market/market.json"),
        _figure("utilisation_of_limits", _over(float(weight.sum()), float(cap.astype(float).sum())),
                "ratio", "Debt over the sum of limits", "融资余额占额度总和的比例",
                f"{_SEALED}: debt_amt, max_debt_amt", "no limits"),
        _figure("average_liquidation_loss_bps", None, "bps",
                "Decision mark less the price a forced sale got", "强平决策价与成交价之差",
                "trades of forced sales", "the contract tables do not say which fills a forced sale made"),
        _figure("pool_coverage", None, "ratio", "Loss pool over the expected shortfall of a year",
                "风险准备金与一年预期损失缺口之比", "`gearline stress`", later),
        _figure("procyclicality", None, "ratio", "Peak to trough of the limits over a cycle",
                "一个周期内额度的峰谷比", "`gearline bench frontier`", "one night has no cycle"),
        *_bands(now, debt),
        _figure("top_10_clients", _over(float(by_client[:LARGEST].sum()), float(weight.sum())), "ratio",
                "Share of the ten largest debts", "前十大客户融资余额占比", f"{_SEALED}: debt_amt",
                "nobody owes anything"),
        _figure("top_10_names", _over(float(by_name[:LARGEST].sum()), float(by_name.sum())), "ratio",
                "Share of the ten largest names in the book's securities", "前十大证券市值占比",
                f"{_INPUTS}: case.book.positions; runs/RUN/market: price", "nobody holds anything"),
        _figure("explanation_coverage", _over(int((adverse & with_reason).sum()), int(adverse.sum())),
                "ratio", "Referred or declined clients with at least one reason", "转人工或拒绝且附有理由的占比",
                f"{_SEALED}: outcome, reasons", "nobody was referred or declined"),
        _figure("override_rate", _over(overrides, len(now)), "ratio",
                "Clients with a person's override in force", "存在有效人工调整的客户占比",
                "ledger: override_in_force, override_lifted", "no clients"),
    ]  # fmt: skip
