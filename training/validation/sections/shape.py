"""Conceptual soundness: the shape of every term, and whether features point the same way as before."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from training.report.texts import Text
from training.validation import discrimination as dis
from training.validation.document import Chart, Finding, Section
from training.validation.material import Material
from training.validation.result import family_wise
from training.validation.rules import LEVEL
from training.validation.sections.common import column, table

SHAPES: Final = 12
POINTS: Final = 60


def soundness(m: Material) -> Section:
    """Theory, declared directions, shapes."""
    d, v = m.development, m.validation
    section = Section(
        "soundness",
        Text("Conceptual soundness", "概念合理性"),
        Text(
            "The score is a sum of functions of one or two features, each of which can be read. Below, each feature's mean effect on the log-odds over the validation cases, all other features as they are. A feature whose ranking turned round between development and validation may have been fed with the wrong sign; ranks are taken within periods where time is known, p-values are two-sided, Holm's over all features.",
            "评分为一元或二元函数之和，每项均可阅读。下图为各特征对对数几率的平均影响（其他特征不变）。若某特征在开发与验证之间排序反转，可能符号有误；已知时间时按期内排序，p 为双侧，对全部特征作 Holm 校正。",
        ),
    )
    rows: list[list[Any]] = []
    before: list[float | None] = []
    after: list[float | None] = []
    for k, feature in enumerate(m.features):
        signs: list[float | None] = []
        for sample, p_values in ((d, before), (v, after)):
            x = sample.features[:, k]
            known = ~np.isnan(x)
            ranked = x[known]
            if sample.period is not None and known.any():
                # within periods: a feature of the market alone ranks no client
                ranked = dis.period_ranks(ranked, sample.period[known])
            found = dis.somers_d(ranked, sample.label[known]) if known.any() else None
            signs.append(None if found is None or feature.is_category else found.value)
            p = None
            if (
                found is not None
                and found.value is not None
                and found.variance
                and not feature.is_category
            ):
                from scipy.special import ndtr

                p = float(2 * ndtr(-abs(found.value) / np.sqrt(found.variance)))
            p_values.append(p)
        rows.append([feature.text, feature.direction, signs[0], signs[1]])
    one, two = family_wise(before), family_wise(after)
    for k, row in enumerate(rows):
        a, b, p, q = row[2], row[3], one[k], two[k]
        turned = (
            a is not None
            and b is not None
            and p is not None
            and q is not None
            and a * b < 0
            and max(p, q) < LEVEL
        )
        row += [before[k], after[k], p, q]
        if turned:
            section.findings.append(
                Finding(
                    "flipped",
                    3,
                    Text(
                        f"Feature {row[0].en} ranks the other way than in development: Somers' D {a:+.2f}, now {b:+.2f}.",
                        f"特征 {row[0].zh} 的排序方向与开发时相反：Somers' D 由 {a:+.2f} 变为 {b:+.2f}。",
                    ),
                    "data",
                    "soundness.signs",
                )
            )
    section.tables.append(
        table(
            "signs",
            "Declared direction, and Somers' D of each number alone",
            "声明方向与各数值特征单独的 Somers' D",
            [
                column("feature", "Feature", "特征", "text"),
                column("direction", "declared", "声明方向", "count"),
                column("before", "D in development", "开发 D"),
                column("after", "D in validation", "验证 D"),
                column("p_before", "p, development", "p（开发）", "p"),
                column("p_after", "p, validation", "p（验证）", "p"),
                column("holm_before", "Holm p, development", "Holm p（开发）", "p"),
                column("holm_after", "Holm p, validation", "Holm p（验证）", "p"),
            ],
            rows,
            dis.somers_d,
            v.sha256,
        )
    )
    if m.rescore is not None:
        section.charts += _shapes(m)
    return section


def _shapes(m: Material) -> list[Chart]:
    """Partial dependence in log-odds: exact up to the other features' sample, centred at 0."""
    v = m.validation
    assert m.rescore is not None
    sample = v.features[np.unique(np.linspace(0, len(v) - 1, min(200, len(v))).astype(int))]
    found = []
    for k, feature in enumerate(m.features):
        x = v.features[:, k]
        known = x[np.isfinite(x)]
        if not len(known):
            continue
        if feature.is_category:
            at = np.unique(known)[:POINTS]
        else:
            at = np.unique(np.quantile(known, np.linspace(0.01, 0.99, POINTS)))
        tiled = np.repeat(sample, len(at), axis=0)
        tiled[:, k] = np.tile(at, len(sample))
        effect = m.rescore(tiled)[0].reshape(len(sample), len(at)).mean(axis=0)
        found.append((float(np.ptp(effect)), k, at, effect - effect.mean()))
    found.sort(key=lambda f: (-f[0], f[1]))
    return [
        Chart(
            f"shape_{m.features[k].name}",
            "bars" if m.features[k].is_category else "steps",
            m.features[k].text,
            (Text("value", "取值"), Text("log-odds", "对数几率")),
            [(m.features[k].text, at.tolist(), effect.tolist())],
            tuple(map(m.features[k].level, at.tolist())) if m.features[k].is_category else (),
        )
        for spread, k, at, effect in found[:SHAPES]
        if spread > 0
    ]
