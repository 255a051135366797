"""Where the model is weak: slices, noise, shifted populations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from data_contracts.units import BoolArray
from training.report.texts import Text, same
from training.validation import calibration as cal
from training.validation import discrimination as dis
from training.validation import stability as sta
from training.validation.document import Finding, Section
from training.validation.material import Material
from training.validation.result import false_discovery, family_wise
from training.validation.rules import LEAST_EVENTS, LEVEL, NOISE, NOISE_DROP, SEGMENT_RATIO
from training.validation.sections.common import column, figure, table

SLICES: int = 4
SHOWN: int = 12
NOISES = (0.05, 0.10, 0.20, 0.40)
TAIL: float = 0.30


def slices(m: Material) -> Iterator[tuple[Text, Text, BoolArray]]:
    """Every slice: quarters of each number (edges of development), levels of each category, missing."""
    for k, feature in enumerate(m.features):
        here, before = m.validation.features[:, k], m.development.features[:, k]
        missing = np.isnan(here)
        if feature.is_category:
            for level in np.unique(here[~missing]):
                yield feature.text, same(feature.level(level)), here == level
        else:
            edges = sta.cells_of(before, SLICES)
            place = np.searchsorted(edges, here, side="left")
            for j in range(len(edges) + 1):
                low = "" if j == 0 else f"> {edges[j - 1]:.6g}"
                high = "" if j == len(edges) else f"<= {edges[j]:.6g}"
                name = " ".join(filter(None, (low, high))) or "all"
                yield feature.text, same(name), (place == j) & ~missing
        if missing.any():
            yield feature.text, Text("missing", "缺失"), missing
    if m.validation.period is not None:
        for period in np.unique(m.validation.period):
            yield Text("period", "期间"), same(str(period)), m.validation.period == period
    for attribute, groups in m.protected.items():
        for group in sorted(set(groups.tolist())):
            yield same(attribute), same(group), groups == group


def weak_spots(m: Material) -> Section:
    """Slices whose events are far from the expected number."""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "weak_spots",
        Text("Weak spots", "薄弱环节"),
        Text(
            f"Events over expected in every slice of every feature with at least {LEAST_EVENTS} expected events, the {SHOWN} farthest from 1. p is two-sided, over periods where there are at least four; q (Benjamini-Hochberg) and Holm's p count all slices.",
            f"各特征每个分层（预期事件不少于 {LEAST_EVENTS}）的实际与预期之比，列出偏离最大的 {SHOWN} 个。p 为双侧（有四期及以上时按期计算）；q（Benjamini-Hochberg）与 Holm p 计入全部分层。",
        ),
    )
    found = []
    for name, part, rows in slices(m):
        if float(v.probability[rows].sum()) < LEAST_EVENTS or rows.all():
            continue
        ratio, test = cal.observed_to_expected(
            v.probability[rows],
            v.label[rows],
            None if v.period is None else v.period[rows],
            v.periods,
        )
        inside = dis.auc_delong(v.score[rows], v.label[rows]).value
        found.append((name, part, int(rows.sum()), ratio, test, inside))
    if not found:
        section.absent = Text(
            f"no slice has {LEAST_EVENTS} expected events",
            f"没有分层达到 {LEAST_EVENTS} 个预期事件",
        )
        return section
    p = [test.p_value for *_, test, _ in found]
    q, holm = false_discovery(p), family_wise(p)
    order = sorted(range(len(found)), key=lambda k: (p[k] if p[k] is not None else 1.0, k))
    section.figures.append(
        figure("slices", "Slices looked at", "检查的分层数", len(found), cal.observed_to_expected, h, "count")
    )  # fmt: skip
    section.tables.append(
        table(
            "slices",
            "The slices with the smallest p-values",
            "p 值最小的分层",
            [
                column("feature", "Feature", "特征", "text"),
                column("slice", "Slice", "分层", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("ratio", "Events / expected", "实际/预期"),
                column("auc", "AUC inside", "分层内 AUC"),
                column("p", "p", "p", "p"),
                column("q", "q", "q", "p"),
                column("holm", "Holm p", "Holm p", "p"),
                column(
                    "detectable", "least shift found (80 % power)", "可检出最小偏移（80% 功效）"
                ),
            ],
            [
                [
                    found[k][0],
                    found[k][1],
                    found[k][2],
                    found[k][3],
                    found[k][5],
                    p[k],
                    q[k],
                    holm[k],
                    found[k][4].detectable,
                ]
                for k in order[:SHOWN]
            ],
            cal.observed_to_expected,
            h,
        )
    )
    worst: dict[Text, int] = {}
    for k in order:
        name, part, _, ratio, _, _ = found[k]
        level = holm[k]
        if ratio is None or level is None or level >= LEVEL:
            continue
        if 1 / SEGMENT_RATIO <= ratio <= SEGMENT_RATIO or name in worst:
            continue
        worst[name] = k
        section.findings.append(
            Finding(
                "weak_spot",
                3,
                Text(
                    f"{name.en}, {part.en}: {ratio:.2f} times the expected events (Holm p = {level:.2g} over {len(found)} slices).",
                    f"{name.zh}，{part.zh}：实际为预期的 {ratio:.2f} 倍（{len(found)} 个分层的 Holm p = {level:.2g}）。",
                ),
                "developer",
                "weak_spots.slices",
            )
        )
    return section


def robustness(m: Material) -> Section:
    """What small errors of measurement do to score and ranking."""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "robustness",
        Text("Robustness", "稳健性"),
        Text(
            "Normal noise on every number, in standard deviations of that feature in development; categories and missing values are left as they are.",
            "对每个数值特征加入正态噪声（以其开发样本标准差计）；类别与缺失值不变。",
        ),
    )
    if m.rescore is None:
        section.absent = Text(
            "the model is known by its probabilities only, so it cannot score changed cases",
            "仅提供模型概率，无法对变动后的样本重新评分",
        )
        return section
    spread = np.array(
        [0.0 if f.is_category else float(np.nanstd(m.development.features[:, k])) if bool(np.isfinite(m.development.features[:, k]).any()) else 0.0
         for k, f in enumerate(m.features)]
    )  # fmt: skip
    base = dis.auc_delong(v.score, v.label).value
    rows, drop = [], None
    for noise in NOISES:
        rng = np.random.default_rng([m.seed, int(noise * 1000)])
        moved = v.features + rng.standard_normal(v.features.shape) * spread * noise
        score, probability = m.rescore(moved)
        found = dis.auc_delong(score, v.label).value
        change = np.abs(probability - v.probability)
        fall = None if base is None or found is None else base - found
        if noise == NOISE:
            drop = fall
        rows.append([noise, found, fall, float(change.mean()), float(np.quantile(change, 0.99))])
    section.tables.append(
        table(
            "noise",
            "AUC and probability under noise",
            "噪声下的 AUC 与概率",
            [
                column("noise", "Noise, standard deviations", "噪声（标准差）"),
                column("auc", "AUC", "AUC"),
                column("drop", "fall of AUC", "AUC 下降"),
                column("mean", "mean change of probability", "概率平均变动", "ratio"),
                column("p99", "99th percentile", "99 分位", "ratio"),
            ],
            rows,
            robustness,
            h,
        )
    )
    if drop is not None and drop > NOISE_DROP:
        section.findings.append(
            Finding(
                "robustness",
                2,
                Text(
                    f"Noise of {NOISE} standard deviations costs {drop:.3f} AUC.",
                    f"{NOISE} 个标准差的噪声使 AUC 下降 {drop:.3f}。",
                ),
                "developer",
                "robustness.noise",
            )
        )
    return section


def resilience(m: Material) -> Section:
    """How figures would look in a population shifted to either tail of a feature."""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "resilience",
        Text("Resilience", "韧性"),
        Text(
            f"The same figures in the lowest and highest {TAIL:.0%} of each number: what a shift of the population there would show. The {SHOWN} lowest AUCs.",
            f"在各数值特征最低与最高 {TAIL:.0%} 的样本中重算：若群体向该处偏移将呈现的结果。列出 AUC 最低的 {SHOWN} 项。",
        ),
    )
    rows: list[list[Any]] = []
    for k, feature in enumerate(m.features):
        x = v.features[:, k]
        if feature.is_category or not bool(np.isfinite(x).any()):
            continue
        low, high = np.nanquantile(x, [TAIL, 1 - TAIL])
        for name, part in ((f"<= {low:.6g}", x <= low), (f">= {high:.6g}", x >= high)):
            own = dis.auc_delong(v.score[part], v.label[part])
            ratio, test = cal.observed_to_expected(
                v.probability[part],
                v.label[part],
                None if v.period is None else v.period[part],
                v.periods,
            )
            if own.value is not None and not part.all():
                rows.append(
                    [
                        feature.text,
                        name,
                        int(part.sum()),
                        own.value,
                        own.low,
                        own.high,
                        ratio,
                        test.p_value,
                    ]
                )
    if not rows:
        section.absent = Text(
            "no number has both outcomes in a tail", "没有数值特征在尾部同时含两类结果"
        )
        return section
    rows.sort(key=lambda r: (r[3], r[0].en, r[1]))
    section.tables.append(
        table(
            "tails",
            "Tails with the lowest AUC",
            "AUC 最低的尾部",
            [
                column("feature", "Feature", "特征", "text"),
                column("tail", "Tail", "尾部", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("auc", "AUC", "AUC"),
                column("low", "low", "下限"),
                column("high", "high", "上限"),
                column("ratio", "Events / expected", "实际/预期"),
                column("p", "p", "p", "p"),
            ],
            rows[:SHOWN],
            dis.auc_delong,
            h,
        )
    )
    return section
