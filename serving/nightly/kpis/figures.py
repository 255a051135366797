"""The night's key figures, each with its unit, its definition and where it was read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from data_contracts.decision import OUTCOMES
from data_contracts.units import NULL, RATIO_ONE, IntArray
from models.price.rate import RATE_COMPONENTS
from serving.nightly.gate.cases import matrix
from serving.nightly.gate.night import Night
from serving.nightly.kpis.measures import (
    Span,
    cured,
    events,
    liquidation_loss,
    mean_margins,
    override_outcome,
)
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
    name: str,
    value: float | int | None,
    unit: str,
    en: str,
    zh: str,
    formula: str,
    n: int,
    source: str,
    why: str = "",
) -> dict[str, Any]:
    """One figure: its definition in words and as a formula, and what ``n`` cases it is over.

    ``why`` says why it does not apply where there is none.
    """
    shown = None if value is None else f"{value:.6f}" if unit == "ratio" else str(round(value, 2))
    return {
        "kpi": name, "value": shown, "unit": unit, "n": n, "en": en, "zh": zh, "formula": formula,
        "source": source, "why_null": why if value is None else "",
    }  # fmt: skip


def _over(part: float, whole: float) -> float | None:
    return None if whole == 0 else part / whole


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
            "debt in the band / debt", int((place == k).sum()),
            f"{_SEALED}: debt_amt by maintenance_e6", "nobody owes anything",
        )
        for k, name in enumerate(BAND_NAMES)
    ]  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """The reserve pool the lender holds, and the stress that says what it should cover, minor units."""

    held_amt: int | None
    expected_shortfall_amt: int | None


NO_POOL: Final = Pool(None, None)


def _coverage(pool: Pool) -> dict[str, Any]:
    need, held = pool.expected_shortfall_amt, pool.held_amt
    value, why = None, "give the pool with --pool and a stress document with --stress"
    if need is not None and held is not None:
        value = _over(float(held), float(need))
        why = "the stress lost nothing in its worst thousandth: there is nothing to cover"
    return _figure(
        "pool_coverage", value, "x", "Reserve pool over the expected shortfall at 99.9 %",
        "风险准备金与 99.9% 预期损失缺口之比", "pool / ES 99.9 %", int(value is not None),
        "--pool; stress.json: pool.expected_shortfall_999_amt", why,
    )  # fmt: skip


def kpis(
    root: Path, before: Night | None, now: Night, overrides: int, pool: Pool = NO_POOL
) -> list[dict[str, Any]]:
    """The key figures of the night: the one definition of each.

    Event rates count accounts with an event after the published night up to tonight, over clients
    with debt; without a published night tonight's day alone.
    """
    span = Span(None if before is None else before.as_of, now.as_of)
    debt, equity = now.money["debt_amt"], now.money["equity_amt"]
    cap = now.money["max_debt_amt"]
    owing = debt > 0
    debtors = int(owing.sum())
    found = events(root, span)
    calls, done = (0, 0) if found is None else cured(root, span)
    components, with_reason = _rates(root, now)
    weight = debt.astype(float)
    at = {name: components[:, k] for k, name in enumerate(RATE_COMPONENTS)}
    margin = now.rate - at["funding"] - at["expected_loss"]
    sound = owing & (equity > 0)
    leverage = (debt[sound] + equity[sound]) / equity[sound].astype(float)
    adverse = now.outcome > OUTCOMES.index("approve")
    no_events = "the lake has no margin_events" if found is None else "nobody owes anything"
    e, clients = "margin_events", len(now)
    hit = {} if found is None else found

    def rate(kind: str) -> float | None:
        return None if found is None else _over(hit.get(kind, (0, 0.0))[0], debtors)

    liquidated = rate("forced_sale")
    daily = None if liquidated is None else liquidated / span.days
    sold = None if found is None else _over(hit.get("forced_sale", (0, 0.0))[1] * 100, weight.sum())
    loss, fills, no_loss = liquidation_loss(root, span)
    outcome, acts, no_outcome = override_outcome(root, now.as_of)
    margins = mean_margins(root, now.as_of)
    worth = np.where(now.lot_shares > 0, now.lot_shares, 0) * np.array(
        [max(int(now.market.price[now.market.index[s]]), 0) if s in now.market.index else 0
         for s in now.names] or [0], dtype=float)[now.lot_name]  # fmt: skip
    by_name = np.sort(np.bincount(now.lot_name, weights=worth, minlength=1))[::-1]
    by_client = np.sort(weight)[::-1]
    return [
        _figure("liquidation_rate", liquidated, "ratio",
                "Accounts force-sold since the published night, over clients with debt",
                "自上次发布以来被强平账户占有负债客户的比例", "accounts force-sold / clients with debt",
                debtors, f"{e}: kind forced_sale", no_events),
        _figure("liquidation_rate_daily", daily, "ratio", "The same a calendar day",
                "日均强平率", "liquidation rate / days", span.days, f"{e}: kind forced_sale", no_events),
        _figure("liquidation_rate_annual", None if daily is None else 365 * daily, "ratio",
                "The same a year, not compounded", "年化强平率（单利）", "365 x daily rate", span.days,
                f"{e}: kind forced_sale", no_events),
        _figure("liquidation_value", sold, "ratio", "Value force-sold over debt",
                "强平金额占融资余额", "amount force-sold / debt", hit.get("forced_sale", (0, 0.0))[0],
                f"{e}: kind forced_sale, amount_amt", no_events),
        _figure("call_rate", rate("call"), "ratio",
                "Accounts called since the published night, over clients with debt",
                "自上次发布以来被追保账户占有负债客户的比例", "accounts called / clients with debt",
                debtors, f"{e}: kind call", no_events),
        _figure("cure_rate", None if found is None else _over(done, calls), "ratio",
                "Calls cured by their deadline, of those whose deadline fell since the published night",
                "截止日落在自上次发布以来的追保中按时补足的比例", "calls cured by deadline / calls due",
                calls, f"{e}: kind call, cure; deadline_at",
                no_events if found is None else "no deadline fell"),
        _figure("default_rate", rate("shortfall"), "ratio",
                "Accounts with negative equity after a forced sale, over clients with debt",
                "强平后净资产为负的账户占有负债客户的比例", "accounts short / clients with debt", debtors,
                f"{e}: kind shortfall", no_events),
        _figure("leverage", _over(float((debt + equity)[sound].sum()), float(equity[sound].sum())),
                "x", "Assets over equity of all clients with debt together", "有负债客户合计的总资产与净资产之比",
                "sum of assets / sum of equity", int(sound.sum()), f"{_SEALED}: debt_amt, equity_amt",
                "nobody owes anything"),
        _figure("leverage_median", float(np.median(leverage)) if len(leverage) else None, "x",
                "Median of assets over equity of clients with debt", "有负债客户总资产与净资产之比的中位数",
                "median of assets / equity", len(leverage), f"{_SEALED}: debt_amt, equity_amt",
                "nobody owes anything"),
        _figure("net_interest_margin_bps", _over(float((margin * weight).sum()), float(weight.sum())),
                "bps", "Tonight's rate less funding and expected loss, weighted by debt",
                "当晚利率减资金成本与预期损失，按融资余额加权", "sum of debt x (rate - funding - EL) / debt",
                debtors, f"{_SEALED}: rate_bps, rate_components_bps, debt_amt", "nobody owes anything"),
        _figure("utilisation_of_quota", now.market.utilisation / RATIO_ONE, "ratio",
                "Drawn over the lender's quota", "已用额度占总额度的比例", "drawn / quota", 1,
                "runs/RUN/market/market.json"),
        _figure("utilisation_of_limits", _over(float(weight.sum()), float(cap.astype(float).sum())),
                "ratio", "Debt over the sum of limits", "融资余额占额度总和的比例", "debt / sum of limits",
                clients, f"{_SEALED}: debt_amt, max_debt_amt", "no limits"),
        _figure("average_liquidation_loss_bps", loss, "bps",
                "Last close before a forced sale less the price it got, weighted by value",
                "强平前收盘价与成交价之差（按市值加权）", "sum of shares x (mark - price) / sum of shares x mark",
                fills, f"{e}: forced_sale; trades: sales with financed; bars: close", no_loss),
        _figure("shortfall_amt", None if found is None else hit.get("shortfall", (0, 0.0))[1], "money",
                "Debt that forced sales since the published night did not cover",
                "自上次发布以来强平所得不足清偿的负债", "sum of (debt - proceeds), where above zero",
                hit.get("shortfall", (0, 0.0))[0], f"{e}: kind shortfall, amount_amt", no_events),
        _coverage(pool),
        _figure("procyclicality", max(margins) / min(margins) - 1 if len(margins) > 1 else None, "ratio",
                "Highest over lowest mean security margin of a year's nights, less one",
                "一年内各批次证券保证金均值的峰谷比减一", "peak / trough - 1", len(margins),
                "runs/*/market/securities.parquet: security_margin", "one night has no cycle"),
        *_bands(now, debt),
        _figure("top_10_clients", _over(float(by_client[:LARGEST].sum()), float(weight.sum())), "ratio",
                "Share of the ten largest debts", "前十大客户融资余额占比", "ten largest debts / debt",
                debtors, f"{_SEALED}: debt_amt", "nobody owes anything"),
        _figure("top_10_names", _over(float(by_name[:LARGEST].sum()), float(by_name.sum())), "ratio",
                "Share of the ten largest names in the book's securities", "前十大证券市值占比",
                "ten largest names / securities", len(now.names),
                f"{_INPUTS}: case.book.positions; runs/RUN/market: price", "nobody holds anything"),
        _figure("explanation_coverage", _over(int((adverse & with_reason).sum()), int(adverse.sum())),
                "ratio", "Referred or declined clients with at least one reason", "转人工或拒绝且附有理由的占比",
                "with a reason / referred or declined", int(adverse.sum()), f"{_SEALED}: outcome, reasons",
                "nobody was referred or declined"),
        _figure("override_rate", _over(overrides, clients), "ratio",
                "Clients with a person's override in force", "存在有效人工调整的客户占比",
                "overrides in force / clients", clients, "ledger: override_in_force, override_lifted",
                "no clients"),
        _figure("override_outcome", outcome, "ratio",
                "Overridden clients who defaulted within 90 days", "人工调整后 90 日内违约的客户占比",
                "defaults within 90 days / overrides at least 90 days old", acts,
                "reviews: side; margin_events: kind default", no_outcome),
    ]  # fmt: skip
