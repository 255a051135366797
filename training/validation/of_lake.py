"""Material from a bundle and a lake: the cases of its test period, decisions, prices, reviews."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import lake_info, read_table
from data_contracts.units import LOG_ODDS_ONE, NULL, PROB_ONE, FloatArray, IntArray
from features.asof import BookHistory
from features.panel import PricePanel, load_panel
from features.sets import feature_set
from models.bundle import Bundle
from models.calibration import tier_of_pd
from training.labels import YEAR_SESSIONS, load_outcomes
from training.report.texts import Text, same
from training.sample import Sample, build_sample
from training.splits import Split, plan_split
from training.validation.challengers import benchmarks
from training.validation.decided import (
    GRADES,
    overrides_of,
    prices_of,
    protected_groups,
    served_scores,
    stored_decisions,
)
from training.validation.material import Cases, Feature, Material

Stages = Callable[[str, int, int], None]
CRASH, CORRECTION = 0.20, 0.10
"""Falls of the market from its highest close within the outcome's window."""


@dataclass(frozen=True)
class _Lake:
    """What is read once."""

    path: Path
    panel: PricePanel
    histories: tuple[BookHistory, ...]
    names: Any
    split: Split


def _ones(bundle: Bundle) -> FloatArray:
    """How many quanta make one, by feature."""
    return np.array([float(f["one"]) for f in bundle.features["features"]])


def _floats(values: IntArray, one: FloatArray) -> FloatArray:
    """Quantised features in their declared units, NaN for missing."""
    return np.where(values == NULL, np.nan, values / one)


def _integers(values: FloatArray, one: FloatArray) -> IntArray:
    """Back to quanta: the nearest, so exact for what came from them."""
    return np.where(np.isnan(values), NULL, np.rint(np.nan_to_num(values * one))).astype(np.int64)


def _split(bundle: Bundle, panel: PricePanel, lake: Path) -> Split:
    """The split that the bundle was fitted under: it names the sessions that taught it."""
    opened = read_table(lake, "accounts", columns=["opened_on"])["opened_on"]
    first = (
        max(pc.min(opened).as_py(), panel.sessions[0].item())
        if len(opened)
        else panel.sessions[0].item()
    )
    plan = plan_split(panel, panel.session_index(np.datetime64(first)), len(panel.sessions) - 1)
    last = bundle.reference.get("last_session")
    if last == str(panel.sessions[plan.train_rows[-1]]):
        return plan
    other = plan.by_client()
    if last == str(panel.sessions[other.train_rows[-1]]):
        return other
    raise InputError(
        f"the bundle learnt until {last}, which is no split of this lake's period; name the lake that"
        " `gearline train` read"
    )


def _spaced(rows: Sequence[int], gap: int) -> list[int]:
    """Rows at least ``gap`` apart, from the first: outcome windows that do not overlap."""
    kept: list[int] = []
    for t in rows:
        if not kept or t - kept[-1] >= gap:
            kept.append(t)
    return kept


def _cases(sample: Sample, bundle: Bundle, panel: PricePanel, split: Split) -> tuple[Cases, Any]:
    """Cases with a known outcome over the split's horizon, and which rows of the sample they are."""
    label = sample.default_year if split.horizon == YEAR_SESSIONS else sample.default_60
    known = np.flatnonzero(label >= 0)
    taken = sample.take(known)
    score = bundle.head.score(taken.values)
    one_year = bundle.calibration.of_score(score)[0]
    grade = tier_of_pd(one_year, bundle.tier_edges)
    pd = (
        one_year
        if split.horizon == YEAR_SESSIONS
        else bundle.calibration.default_60_of_score(score)
    )
    year = panel.sessions[taken.session].astype("datetime64[Y]").astype(np.int64) + 1970
    return (
        Cases(
            score / LOG_ODDS_ONE, pd / PROB_ONE, label[known], np.asarray(grade, dtype=np.int64),
            _floats(taken.values, _ones(bundle)), year, taken.cluster,
        ),
        known,
    )  # fmt: skip


def _migrations(
    sample: Sample, bundle: Bundle, split: Split, rows: Sequence[int]
) -> IntArray | None:
    """Customers from tier to tier between consecutive cohorts; default, other system, terminated."""
    if len(rows) < 2:
        return None
    label = sample.default_year if split.horizon == YEAR_SESSIONS else sample.default_60
    tier = np.asarray(
        tier_of_pd(
            bundle.calibration.of_score(bundle.head.score(sample.values))[0], bundle.tier_edges
        )
    )
    counts = np.zeros((GRADES, GRADES + 3), dtype=np.int64)
    for one, two in itertools.pairwise(rows):
        later = {
            int(c): int(g)
            for c, g in zip(
                sample.client[sample.session == two], tier[sample.session == two], strict=True
            )
        }
        here = sample.session == one
        for c, g, y in zip(sample.client[here], tier[here], label[here], strict=True):
            to = GRADES if y == 1 else later.get(int(c), GRADES + 3) - 1
            counts[g - 1, to] += 1
    return counts


def _regimes(panel: PricePanel, sample_session: IntArray, horizon: int) -> dict[str, Any]:
    """Cases by the largest fall of the market within their outcome's window."""
    close = np.where(panel.close == NULL, np.nan, panel.close.astype(np.float64))
    before = np.where(panel.pre_close == NULL, np.nan, panel.pre_close.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        moves = np.where(panel.suspended, np.nan, close / before - 1)
        known = np.isfinite(moves)
        daily = np.where(known, moves, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    level = np.cumprod(1 + daily)
    fall = {}
    for t in np.unique(sample_session).tolist():
        path = level[t : t + horizon + 1]
        fall[t] = float((1 - path / np.maximum.accumulate(path)).max())
    of = np.array([fall[int(t)] for t in sample_session])
    bands = {
        "calm (< 10 %)": of < CORRECTION,
        "correction (10-20 %)": (of >= CORRECTION) & (of < CRASH),
        "crash (> 20 %)": of >= CRASH,
    }
    return {name: rows for name, rows in bands.items() if rows.any()}


def material_of_lake(arguments: argparse.Namespace, stages: Stages) -> Material:
    """Rebuild the features of the lake's periods and gather what validates the bundle on them."""
    lake: Path = arguments.lake
    bundle, info = Bundle.read(arguments.bundle), lake_info(lake)
    panel = load_panel(lake)
    split = _split(bundle, panel, lake)
    chosen = feature_set(bundle.features["feature_set"])
    histories = []
    for bucket in range(info.buckets):
        histories.append(BookHistory.load(lake, panel, bucket))
        stages("load", bucket + 1, info.buckets)
    outcomes = load_outcomes(lake, panel)

    def gathered(rows: Sequence[int], name: str) -> Sample:
        return build_sample(
            histories, outcomes, rows, chosen, lambda done, of: stages(name, done, of)
        )

    rows = _spaced(split.test_rows, split.horizon)
    teaching = gathered(split.train_rows, "teaching")
    testing = gathered(rows, "testing")
    if split.kind == "by-client":
        teaching = teaching.take(split.learns(teaching.cluster))
    kept = split.calibrates(teaching.cluster)
    judged = testing.take(split.judges(testing.cluster))
    development, _ = _cases(teaching.take(~kept), bundle, panel, split)
    initial, _ = _cases(teaching.take(kept), bundle, panel, split)
    validation, known = _cases(judged, bundle, panel, split)
    if not 0 < int(validation.label.sum()) < len(validation):
        raise InputError(
            "the lake's test period has no default, or nothing else; a report needs both"
        )
    features = tuple(
        Feature(f["name"], Text(f["en"], f["zh"]), int(f["direction"]))
        for f in bundle.features["features"]
    )
    decisions = stored_decisions(lake)
    names, session = outcomes.names, judged.session[known]
    client = [str(names[c]) for c in judged.client[known]]
    groups = protected_groups(lake)
    protected = {
        name: np.array([by.get(c, "unknown") for c in client], dtype=object)
        for name, by in groups.items()
    }
    outcome = {
        (c, panel.sessions[t].item()): int(y)
        for c, t, y in zip(client, session, validation.label, strict=True)
    }
    stages("benchmark", 0, 1)
    others = benchmarks(
        features, (development.features, development.label), (initial.features, initial.label),
        validation.features, arguments.seed,
    )  # fmt: skip
    stages("benchmark", 1, 1)

    ones = _ones(bundle)

    def rescore(x: FloatArray) -> tuple[FloatArray, FloatArray]:
        score = bundle.head.score(_integers(x, ones))
        pd = (
            bundle.calibration.of_score(score)[0]
            if split.horizon == YEAR_SESSIONS
            else bundle.calibration.default_60_of_score(score)
        )
        return score / LOG_ODDS_ONE, pd / PROB_ONE

    def explain(x: FloatArray) -> tuple[FloatArray, float, FloatArray]:
        score, phi = bundle.head.score_and_attributions(_integers(x, ones))
        return score / LOG_ODDS_ONE, bundle.head.base_attribution / LOG_ODDS_ONE, phi / LOG_ODDS_ONE

    prices = None if decisions is None else prices_of(decisions, bundle, info.currency)
    exposure = (
        Text("no decisions are stored", "没有已存决定")
        if prices is None
        else same(f"{info.currency} {np.nansum(prices.cap_amt):,.0f}")
    )
    first, last = panel.sessions[rows[0]], panel.sessions[rows[-1]]
    apart = (
        Text(
            "Out of time: every label that taught ended before the first validation case.",
            "跨期：训练标签均在首个验证样本之前结束。",
        )
        if split.kind == "out-of-time"
        else Text(
            "By client, in the same period: there were too few defaults before the cut. Not out of time.",
            "同期按客户切分：切分日前违约过少。并非跨期。",
        )
    )
    return Material(
        subject={
            "name": Text(f"Gearline scorer default_60 of bundle {bundle.sha256[:12]}", f"Gearline default_60 评分模型，模型包 {bundle.sha256[:12]}"),
            "purpose": Text("tier, limit and rate of margin lending to natural persons", "自然人融资业务的等级、额度与利率"),
            "target": Text(f"default within {split.horizon} sessions: an uncured call, the immediate-close line crossed, or negative equity after liquidation", f"{split.horizon} 个交易日内违约：追保未补足、触及强平线或平仓后权益为负"),
            "kind": Text("gradient boosting under pairwise constraints, compiled into integer tables", "成对约束的梯度提升，编译为整数查找表"),
            "owner": Text("model owner (development)", "模型负责人（开发）"),
            "exposure": exposure,
            "materiality": Text("high: it sets tier, limit and rate of every client", "高：决定每位客户的等级、额度与利率"),
            "upstream": Text(f"feature set {bundle.features['feature_set']}, lake {lake.name}", f"特征集 {bundle.features['feature_set']}，数据湖 {lake.name}"),
            "downstream": Text("tier, soft cap, expected loss, capital, rate", "等级、软额度、预期损失、资本、利率"),
            "model_sha256": bundle.sha256,
            "data_sha256": validation.sha256,
            "directions": bundle.directions,
            "explain": explain,
            "cases_before": len(judged.client),
            "limitations": tuple(_limits(info.flags, bundle)),
            "data_points": (
                Text(f"Validation cohorts from {first} to {last}, {len(rows)} of them, their outcome windows of {split.horizon} sessions not overlapping.", f"验证队列 {first} 至 {last}，共 {len(rows)} 个，{split.horizon} 个交易日的结果窗口互不重叠。"),
                Text(f"{len(judged.client) - len(validation):,} of {len(judged.client):,} cases have no outcome yet or were censored, and are left out.", f"{len(judged.client):,} 例中有 {len(judged.client) - len(validation):,} 例结果未知或被删失，未计入。"),
                Text("Development holds overlapping windows, several cases of one client; its p-values are not to be read.", "开发样本窗口重叠且含同一客户多例，其 p 值不可解读。"),
            ),
        },
        features=features,
        grades=GRADES,
        development=development,
        validation=validation,
        initial=initial,
        benchmarks=others,
        tables=bundle.head,
        rescore=rescore,
        protected=protected,
        prices=prices,
        overrides=overrides_of(lake, decisions, outcome, groups.get("sex", {})),
        migrations=_migrations(judged, bundle, split, rows),
        served=served_scores(decisions, testing, bundle.head.score(testing.values), names, panel),
        split=apart,
        as_of=arguments.on,
        seed=arguments.seed,
        regimes=_regimes(panel, session, split.horizon),
        absent={
            "migrations": Text("only one cohort", "仅一个队列"),
            "fairness": Text("the lake has no client_protected", "数据湖没有 client_protected 表"),
            "prices": Text("the lake has no stored decisions; run `gearline reprice`", "数据湖没有已存决定；请运行 `gearline reprice`"),
            "overrides": Text("the lake's `reviews` holds no override of a stored decision", "数据湖 `reviews` 中没有对已存决定的推翻"),
        },
    )  # fmt: skip


def _limits(flags: Sequence[str], bundle: Bundle) -> list[Text]:
    found = []
    if (
        any(f in ("survivor-only", "generated", "closes-only", "impact") for f in flags)
        or not flags
    ):
        found.append(
            Text(
                "Where the lake comes from the laboratory, clients, trades and defaults are simulated on real prices: no figure is a real lender's.",
                "若数据湖来自实验室，则客户、交易与违约均为真实行情上的模拟：数字不代表任何真实机构。",
            )
        )
    if "survivor-only" in flags:
        found.append(
            Text(
                "The market holds survivors only, chosen with hindsight: no level of default may be quoted.",
                "行情仅含幸存股票（事后挑选）：违约水平不可引用。",
            )
        )
    if "closes-only" in flags:
        found.append(
            Text(
                "Closes only: features that need volume or price limits are undefined.",
                "仅有收盘价：需要成交量或涨跌停的特征为空。",
            )
        )
    if not bundle.calibration.enough_years:
        found.append(
            Text(
                f"The PD map rests on {bundle.calibration.market_years} market years, fewer than eight.",
                f"违约概率映射基于 {bundle.calibration.market_years} 个市场年度，不足八个。",
            )
        )
    return found
