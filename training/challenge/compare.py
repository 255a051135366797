"""From two models' recorded decisions to a document of figures and a verdict by a stated rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.canonical import sha256_hex
from data_contracts.decision import OUTCOMES
from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, MINOR_PER_UNIT, IntArray
from features.panel import PricePanel
from models.bundle import Bundle
from models.lifecycle import CHALLENGER
from training.challenge.matured import Both, Matured, caps, clusters_of, grades, matured
from training.challenge.statistics import (
    auc_difference,
    brier_difference,
    clustered_mean,
)
from training.labels import HORIZON_SESSIONS, Outcomes
from training.report.texts import Text
from training.summary import TIER_ORDER, pool
from training.validation.calibration import (
    cox,
    expected_zone,
    observed_to_expected,
    spiegelhalter,
)
from training.validation.discrimination import auc_delong, somers_d
from training.validation.document import Section, plain
from training.validation.rules import LEVEL, PSI_MAJOR, RATIO_MAJOR
from training.validation.scores import brier
from training.validation.sections.common import column, figure, table
from training.validation.stability import psi

FORMAT: Final = 1
LEAST_DEFAULTS: Final = 20
"""Matured defaults below which nothing is concluded."""
WORSE_BY: Final = 0.01
"""The AUC by which a challenger must be shown not to be worse."""
CELLS: Final = 10
PROPOSE, KEEP, NOT_ENOUGH, WATCHED = "propose", "keep", "not_enough", "watched"
VERDICTS: Final = {
    PROPOSE: Text("every condition holds: its promotion may be proposed", "各项条件均满足：可提议晋升"),
    KEEP: Text("a condition does not hold: the champion stays", "有条件未满足：维持现任冠军模型"),
    NOT_ENOUGH: Text("too few outcomes are known to conclude", "已成熟的结果不足，尚不能下结论"),
    WATCHED: Text("a shadow is watched only, no verdict is given", "影子模型仅供观察，不作结论"),
}  # fmt: skip
CONDITIONS: Final = {
    "enough": Text(f"at least {LEAST_DEFAULTS} matured defaults", f"已成熟违约不少于 {LEAST_DEFAULTS} 例"),
    "not_worse": Text(f"the 95 % interval of the AUC's difference lies above −{WORSE_BY}", f"AUC 之差的 95% 区间高于 −{WORSE_BY}"),
    "calibrated": Text(f"events over expected differ from 1 by at most {RATIO_MAJOR:.0%}, or by less than the champion's, or not with p < {LEVEL}", f"实际/预期偏离 1 不超过 {RATIO_MAJOR:.0%}，或偏离小于冠军模型，或 p 不小于 {LEVEL}"),
    "better": Text("the interval of the AUC's difference lies above 0, or that of the Brier score's below 0", "AUC 之差的区间高于 0，或 Brier 之差的区间低于 0"),
    "stable": Text(f"PSI of the grades against the champion's at most {PSI_MAJOR}", f"等级分布相对冠军模型的 PSI 不超过 {PSI_MAJOR}"),
}  # fmt: skip


@dataclass(frozen=True)
class Night:
    """One recorded night: the segment files of both models, bucket by bucket in one order."""

    run_id: str
    as_of: str
    champion: tuple[Path, ...]
    challenger: tuple[Path, ...]


def _both(night: Night, panel: PricePanel) -> Both:
    first, second = pool(night.champion), pool(night.challenger)
    if first["client_id"].to_pylist() != second["client_id"].to_pylist():
        raise InputError(
            f"run {night.run_id}: champion and challenger decided on other clients; run `gearline"
            " ledger verify` and restore the segments"
        )
    return Both(panel.session_index(np.datetime64(night.as_of)), first, second)


def compare(
    nights: Sequence[Night],
    bundles: tuple[Bundle, Bundle],
    role: str,
    outcomes: Outcomes,
    panel: PricePanel,
    stages: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """The document of a comparison: the same nights and outcomes give the same bytes.

    Parameters
    ----------
    nights : oldest first; swap sets, tiers, caps and rates are of the last one
    bundles : the champion's and the challenger's
    role : ``challenger`` or ``shadow``; only a challenger gets a verdict
    """
    both = []
    for k, night in enumerate(nights):
        both.append(_both(night, panel))
        if stages:
            stages("nights", k + 1, len(nights))
    last = both[-1]
    known = matured(both, bundles, outcomes, panel)
    decided = _hash(last)
    sections = [
        _discrimination(known),
        _calibration(known),
        _population(last, decided),
        _terms(last, clusters_of(last.first, outcomes), panel.currency, decided),
        _swap(last, known, panel.currency, decided),
        _tiers(last, decided),
    ]
    conditions = _conditions(known, last)
    met = {c["key"]: c["met"] for c in conditions}
    verdict = KEEP
    if role != CHALLENGER:
        verdict = WATCHED
    elif not met["enough"]:
        verdict = NOT_ENOUGH
    elif all(met.values()):
        verdict = PROPOSE
    return {
        "kind": "gearline challenge report",
        "format": FORMAT,
        "subject": {
            "champion_sha256": bundles[0].sha256,
            "challenger_sha256": bundles[1].sha256,
            "role": role,
            "feature_set": str(bundles[0].features["feature_set"]),
            "currency": panel.currency,
        },
        "nights": len(nights),
        "first": nights[0].as_of,
        "last": nights[-1].as_of,
        "clients": last.first.num_rows,
        "matured_nights": list(known.nights),
        "matured": len(known.label),
        "defaults": int(known.label.sum()),
        "verdict": verdict,
        "verdict_text": plain(VERDICTS[verdict]),
        "conditions": conditions,
        "sections": [s.as_dict() for s in sections],
    }


def _hash(both: Both) -> str:
    parts = [b"".join(t["decision_sha256"].to_pylist()) for t in (both.first, both.second)]
    return sha256_hex(b"|".join(parts))


def _conditions(known: Matured, last: Both) -> list[dict[str, Any]]:
    """The rule's conditions, each met or not; what cannot be computed is not met."""
    auc = auc_difference(*known.scores, known.label)
    error = brier_difference(known.pds, known.label, known.cluster)
    ratios = [observed_to_expected(p, known.label, known.period) for p in known.pds]
    (one, _), (two, test) = ratios
    off = None if two is None else abs(two - 1)
    shift = _tier_psi(last).value
    met = {
        "enough": int(known.label.sum()) >= LEAST_DEFAULTS,
        "not_worse": auc.low is not None and auc.low > -WORSE_BY,
        "calibrated": off is not None
        and (
            off <= RATIO_MAJOR
            or (one is not None and off < abs(one - 1))
            or (test.p_value is not None and test.p_value >= LEVEL)
        ),
        "better": (auc.low is not None and auc.low > 0)
        or (error.high is not None and error.high < 0),
        "stable": shift is not None and shift <= PSI_MAJOR,
    }
    return [{"key": k, "text": plain(t), "met": bool(met[k])} for k, t in CONDITIONS.items()]


def _discrimination(k: Matured) -> Section:
    section = Section(
        "discrimination",
        Text("Discrimination", "区分能力"),
        Text(
            f"Default within {HORIZON_SESSIONS} sessions, on nights whose windows are over and do not overlap.",
            f"{HORIZON_SESSIONS} 个交易日内违约，仅含窗口已结束且互不重叠的夜间批次。",
        ),
    )
    if not k.label.any() or k.label.all():
        section.absent = Text(
            "no defaults, or nothing but defaults, have matured", "尚无可比较的已成熟结果"
        )
        return section
    of = k.sha256
    for name, en, zh, score in _named(k.scores):
        a, d = auc_delong(score, k.label), somers_d(score, k.label)
        section.figures += [
            figure(f"auc_{name}", f"AUC, {en}", f"AUC，{zh}", a.value, auc_delong, of, low=a.low, high=a.high),
            figure(f"somers_d_{name}", f"Somers' D, {en}", f"Somers' D，{zh}", d.value, somers_d, of, low=d.low, high=d.high),
        ]  # fmt: skip
    gap = auc_difference(*k.scores, k.label)
    section.figures.append(
        figure("auc_difference", "AUC, challenger less champion", "AUC 之差（挑战者 − 冠军）", gap.value, auc_difference, of, low=gap.low, high=gap.high, test=gap.test)
    )  # fmt: skip
    return section


def _named(pair: tuple[Any, Any]) -> list[tuple[str, str, str, Any]]:
    return [
        ("champion", "champion", "冠军", pair[0]),
        ("challenger", "challenger", "挑战者", pair[1]),
    ]


def _calibration(k: Matured) -> Section:
    section = Section(
        "calibration",
        Text("Calibration", "校准"),
        Text(
            "Predicted against realised defaults on the same cases; events of one night share its market.",
            "同一样本上预测与实际违约；同一夜的事件共享市场环境。",
        ),
    )
    if not len(k.label):
        section.absent = Text("no outcome has matured", "尚无已成熟的结果")
        return section
    of = k.sha256
    for name, en, zh, p in _named(k.pds):
        ratio, test = observed_to_expected(p, k.label, k.period)
        c = cox(p, k.label)
        section.figures += [
            figure(f"events_over_expected_{name}", f"Events over expected, {en}", f"实际/预期，{zh}", ratio, observed_to_expected, of, test=test),
            figure(f"cox_intercept_{name}", f"Cox intercept, {en}", f"Cox 截距，{zh}", c.intercept, cox, of, test=c.joint),
            figure(f"cox_slope_{name}", f"Cox slope, {en}", f"Cox 斜率，{zh}", c.slope, cox, of),
            figure(f"spiegelhalter_{name}", f"Spiegelhalter's z, {en}", f"Spiegelhalter z，{zh}", (s := spiegelhalter(p, k.label)).statistic, spiegelhalter, of, test=s),
            figure(f"brier_{name}", f"Brier score, {en}", f"Brier 分数，{zh}", brier(p, k.label), brier, of),
        ]  # fmt: skip
    d = brier_difference(k.pds, k.label, k.cluster)
    section.figures.append(
        figure("brier_difference", "Brier score, challenger less champion", "Brier 之差（挑战者 − 冠军）", d.value, brier_difference, of, low=d.low, high=d.high)
    )  # fmt: skip
    return section


def _tier_psi(both: Both) -> Any:
    one, two = (
        np.bincount(grades(t) - 1, minlength=len(TIER_ORDER)) for t in (both.first, both.second)
    )
    used = (one + two) > 0
    return psi(one[used], two[used])


def score_cells(champion: IntArray, challenger: IntArray) -> tuple[IntArray, IntArray]:
    """Counts of both models' scores in ten cells that hold as many of the champion's each."""
    edges = np.unique(np.quantile(champion, np.linspace(0, 1, CELLS + 1)[1:-1]))
    one, two = (
        np.bincount(np.searchsorted(edges, s, side="right"), minlength=len(edges) + 1)
        for s in (champion, challenger)
    )
    return one, two


def _population(both: Both, of: str) -> Section:
    one, two = (np.asarray(t["score"]).astype(np.int64) for t in (both.first, both.second))
    cells, tiers = psi(*score_cells(one, two)), _tier_psi(both)
    section = Section(
        "population",
        Text("Scores and grades of the last night", "最近一夜的评分与等级"),
        Text("The same clients under both models.", "同一客户群在两个模型下的分布。"),
    )
    section.figures += [
        figure("psi_scores", "PSI of the scores", "评分 PSI", cells.value, psi, of, test=cells.test),
        figure("psi_tiers", "PSI of the grades", "等级 PSI", tiers.value, psi, of, test=tiers.test),
        figure("mean_score_difference", "Mean log-odds, challenger less champion", "平均对数几率之差", float((two - one).mean() / LOG_ODDS_ONE), score_cells, of),
    ]  # fmt: skip
    return section


def _terms(both: Both, cluster: IntArray, currency: str, of: str) -> Section:
    section = Section(
        "terms",
        Text("Caps and rates of the last night", "最近一夜的额度与利率"),
        Text(
            "Differences client by client; intervals by groups of related clients.",
            "逐客户比较；区间按关联客户群计算。",
        ),
    )
    cap = [caps(t) / MINOR_PER_UNIT for t in (both.first, both.second)]
    rate = [np.asarray(t["rate_bps"]).astype(float) for t in (both.first, both.second)]
    for key, en, zh, values, unit in (
        ("cap", f"Mean cap, {currency}", f"平均额度（{currency}）", cap, "money"),
        ("rate", "Mean rate, bps", "平均利率（基点）", rate, "bps"),
    ):
        d = clustered_mean(values[1] - values[0], cluster)
        section.figures += [
            figure(f"mean_{key}_champion", f"{en}, champion", f"{zh}，冠军", float(values[0].mean()), np_mean, of, unit),
            figure(f"mean_{key}_challenger", f"{en}, challenger", f"{zh}，挑战者", float(values[1].mean()), np_mean, of, unit),
            figure(f"mean_{key}_difference", f"{en}, difference", f"{zh}，差额", d.value, clustered_mean, of, unit, low=d.low, high=d.high),
        ]  # fmt: skip
    return section


def np_mean(values: Any) -> float:
    """Mean over the clients of the night."""
    return float(np.mean(values))


def _swap(both: Both, k: Matured, currency: str, of: str) -> Section:
    one, two = caps(both.first), caps(both.second)
    rate = [np.asarray(t["rate_bps"]).astype(np.int64) for t in (both.first, both.second)]
    outcome = [np.array(t["outcome"].to_pylist(), dtype=object) for t in (both.first, both.second)]
    section = Section(
        "swap_sets",
        Text("Swap sets: who would get more, who less", "换入换出：谁会得到更多、谁更少"),
        Text(
            "Of the last night in money; of matured nights with what became of them.",
            "金额取自最近一夜；违约率取自已成熟的夜间批次。",
        ),
    )
    rows = []
    for name, here in (("more", two > one), ("same", two == one), ("less", two < one)):
        n = int(here.sum())
        moved = float((two - one)[here].sum() / MINOR_PER_UNIT)
        by = float((rate[1] - rate[0])[here].mean()) if n else None
        rows.append([_SIDES[name], n, moved, by])
    columns = [
        column("side", "Cap under the challenger", "挑战者下的额度", "text"),
        column("clients", "Clients", "客户数", "count"),
        column("cap_amt", f"Change of caps, {currency}", f"额度变动（{currency}）", "money"),
        column("rate_bps", "Mean change of rate, bps", "平均利率变动（基点）", "bps"),
    ]
    section.tables.append(
        table(
            "caps", "By change of cap, last night", "按额度变动，最近一夜", columns, rows, _swap, of
        )
    )
    cross = [[a, *(int(((outcome[0] == a) & (outcome[1] == b)).sum()) for b in OUTCOMES)] for a in OUTCOMES]  # fmt: skip
    section.tables.append(
        table(
            "outcomes", "Champion's outcome (rows) against the challenger's, last night", "冠军结论（行）对挑战者结论，最近一夜",
            [column("champion", "Champion", "冠军", "text"), *(column(b, b, b, "count") for b in OUTCOMES)],
            cross, _swap, of,
        )
    )  # fmt: skip
    later = []
    for name, here in (("more", k.more), ("same", ~k.more & ~k.less), ("less", k.less)):
        cases, events = int(here.sum()), int(k.label[here].sum())
        share = events / cases if cases else None
        later.append([_SIDES[name], cases, events, share, *expected_zone(cases, events)])
    section.tables.append(
        table(
            "realised", "Realised default by change of cap, matured nights", "按额度变动的实际违约，已成熟批次",
            [
                column("side", "Cap under the challenger", "挑战者下的额度", "text"),
                column("cases", "Cases", "样本", "count"),
                column("defaults", "Defaults", "违约", "count"),
                column("rate", "Default rate", "违约率", "ratio"),
                column("low", "Low", "下限", "ratio"),
                column("high", "High", "上限", "ratio"),
            ],
            later, expected_zone, k.sha256,
        )
    )  # fmt: skip
    return section


_SIDES: Final = {
    "more": Text("more", "更多"),
    "same": Text("the same", "相同"),
    "less": Text("less", "更少"),
}


def tier_migration(champion: IntArray, challenger: IntArray) -> IntArray:
    """Clients from the champion's tier (row) to the challenger's (column), the last is default."""
    size = len(TIER_ORDER)
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (champion - 1, challenger - 1), 1)
    return counts


def _tiers(both: Both, of: str) -> Section:
    counts = tier_migration(grades(both.first), grades(both.second))
    section = Section(
        "tiers",
        Text("Tier migration", "等级迁移"),
        Text(
            "The same clients on the last night: the champion's tier against the challenger's.",
            "最近一夜同一客户：冠军等级对挑战者等级。",
        ),
    )
    same = int(np.trace(counts))
    section.figures.append(
        figure("same_tier", "Clients in the same tier", "等级相同的客户", same / int(counts.sum()) if counts.sum() else None, tier_migration, of, "ratio")
    )  # fmt: skip
    section.tables.append(
        table(
            "tiers", "Clients by champion's tier (rows) and challenger's", "客户数：冠军等级（行）× 挑战者等级",
            [column("champion", "Champion", "冠军", "text"), *(column(t, t, t, "count") for t in TIER_ORDER)],
            [[t, *counts[k].tolist()] for k, t in enumerate(TIER_ORDER)], tier_migration, of,
        )
    )  # fmt: skip
    return section
