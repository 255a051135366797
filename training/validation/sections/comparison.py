"""Against development, against simpler and blacker models, and regime by regime."""

from __future__ import annotations

import numpy as np

from data_contracts.units import BoolArray, FloatArray
from training.report.texts import Text, same
from training.validation import calibration as cal
from training.validation import discrimination as dis
from training.validation import scores as sco
from training.validation.document import Finding, Section
from training.validation.material import Material
from training.validation.result import family_wise
from training.validation.rules import LEVEL, OVERFIT_GAP, WORSE_THAN_SIMPLE
from training.validation.sections.common import column, figure, significant, table

BLACK_BOX = "black box"
BENCHMARK_TEXTS = {
    "scorecard": Text("scorecard (weights of evidence)", "评分卡（证据权重）"),
    "logistic": Text("logistic regression", "逻辑回归"),
    BLACK_BOX: Text("black box (unconstrained booster)", "黑箱（无约束提升树）"),
}


def overfit(m: Material) -> Section:
    """Figures on what the model learnt from, against what it did not."""
    d, v = m.development, m.validation
    section = Section(
        "overfit",
        Text("Overfit", "过拟合"),
        Text(
            "The same figures in development and validation; the test is unpaired DeLong, two-sided.",
            "开发样本与验证样本的同一指标；检验为非配对 DeLong（双侧）。",
        ),
    )
    if len(d) == 0 or not 0 < int(d.label.sum()) < len(d):
        section.absent = Text("the development sample is not at hand", "未提供开发样本")
        return section
    gap = dis.auc_unpaired((d.score, d.label), (v.score, v.label))
    one, two = dis.auc_delong(d.score, d.label), dis.auc_delong(v.score, v.label)
    rows = [
        [Text(*t), len(c), int(c.label.sum()), a.value, a.low, a.high, sco.brier(c.probability, c.label), sco.log_loss(c.probability, c.label)]
        for t, c, a in ((("development", "开发"), d, one), (("validation", "验证"), v, two))
    ]  # fmt: skip
    section.tables.append(
        table(
            "samples",
            "Development and validation",
            "开发与验证",
            [
                column("sample", "Sample", "样本", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("events", "Events", "事件数", "count"),
                column("auc", "AUC", "AUC"),
                column("low", "low", "下限"),
                column("high", "high", "上限"),
                column("brier", "Brier", "Brier"),
                column("log_loss", "Log-loss", "对数损失"),
            ],
            rows,
            dis.auc_delong,
            v.sha256,
        )
    )
    difference = None if one.value is None or two.value is None else one.value - two.value
    section.figures.append(
        figure("gap", "AUC in development less AUC in validation", "开发 AUC 减验证 AUC", difference, dis.auc_unpaired, v.sha256, test=gap)
    )  # fmt: skip
    if difference is not None and difference > OVERFIT_GAP and significant(gap, LEVEL):
        section.findings.append(
            Finding(
                "overfit",
                2,
                Text(
                    f"AUC is {difference:.3f} higher in development than in validation (p = {gap.p_value:.2g}).",
                    f"开发样本 AUC 高出验证样本 {difference:.3f}（p = {gap.p_value:.2g}）。",
                ),
                "developer",
                "overfit.gap",
            )
        )
    return section


def benchmark(m: Material) -> Section:
    """Is the complexity worth it? And what does the transparency cost?"""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "benchmark",
        Text("Benchmark", "基准对比"),
        Text(
            "Other models on the same cases, learnt from the same development sample. Differences are the validated model's less theirs, with paired DeLong tests, two-sided; Holm's p counts all of them. Swaps: cases among the riskiest fifth under one model only, and their event rates.",
            "同一开发样本训练的其他模型在同一验证样本上的结果。差值为被验证模型减对方，检验为配对 DeLong（双侧）；Holm p 计入全部比较。互换：仅在一方模型中属最高风险五分之一的样本及其事件率。",
        ),
    )
    if not m.benchmarks:
        section.absent = m.absent.get(
            "benchmark", Text("no benchmark was fitted", "未训练基准模型")
        )
        return section
    names = list(m.benchmarks)
    own = dis.auc_delong(v.score, v.label).value
    tests = [dis.auc_paired(v.score, m.benchmarks[n], v.label) for n in names]
    holm = family_wise([t.p_value for t in tests])
    cut = len(v) - max(1, len(v) // 5)

    def riskiest(p: FloatArray) -> BoolArray:
        order = np.lexsort((np.arange(len(p)), p))
        chosen = np.zeros(len(p), dtype=bool)
        chosen[order[cut:]] = True
        return chosen

    mine = riskiest(v.score)
    rows = [
        [
            Text("this model", "被验证模型"),
            own,
            None,
            None,
            None,
            None,
            sco.brier(v.probability, v.label),
            sco.log_loss(v.probability, v.label),
            None,
            None,
            None,
        ]
    ]
    for name, test, family in zip(names, tests, holm, strict=True):
        p = m.benchmarks[name]
        theirs = dis.auc_delong(p, v.label).value
        other = riskiest(p)
        only_mine, only_theirs = mine & ~other, other & ~mine
        difference = None if own is None or theirs is None else own - theirs
        rows.append(
            [BENCHMARK_TEXTS.get(name, same(name)), theirs, difference, test.p_value, family, test.detectable,
             sco.brier(p, v.label), sco.log_loss(np.clip(p, 1e-15, 1 - 1e-15), v.label), int(only_mine.sum()),
             float(v.label[only_mine].mean()) if only_mine.any() else None,
             float(v.label[only_theirs].mean()) if only_theirs.any() else None]
        )  # fmt: skip
        simple = name != BLACK_BOX
        if (
            simple
            and difference is not None
            and -difference > WORSE_THAN_SIMPLE
            and significant(test, LEVEL)
        ):
            section.findings.append(
                Finding(
                    "benchmark",
                    3,
                    Text(
                        f"The {name} ranks better: AUC {theirs:.3f} against {own:.3f} (p = {test.p_value:.2g}).",
                        f"{BENCHMARK_TEXTS[name].zh}排序更好：AUC {theirs:.3f} 对 {own:.3f}（p = {test.p_value:.2g}）。",
                    ),
                    "developer",
                    "benchmark.models",
                )
            )
    section.tables.append(
        table(
            "models",
            "Models on the same cases",
            "同一样本上的各模型",
            [
                column("model", "Model", "模型", "text"),
                column("auc", "AUC", "AUC"),
                column("difference", "ours less theirs", "我方减对方"),
                column("p", "p", "p", "p"),
                column("holm", "Holm p", "Holm p", "p"),
                column("detectable", "least difference found", "可检出最小差值"),
                column("brier", "Brier", "Brier"),
                column("log_loss", "Log-loss", "对数损失"),
                column("swaps", "swapped cases", "互换样本数", "count"),
                column("ours", "event rate of ours only", "仅我方事件率", "ratio"),
                column("theirs", "of theirs only", "仅对方事件率", "ratio"),
            ],
            rows,
            dis.auc_paired,
            h,
        )
    )
    return section


def regimes(m: Material) -> Section:
    """The back-test, regime by regime."""
    v, h = m.validation, m.validation.sha256
    section = Section(
        "regimes",
        Text("Back-test by regime", "分市场状态回测"),
        Text(
            "Figures in each regime of the period. A regime is a few periods with one market each: p-values are over the book's periods, and show little.",
            "期间内各市场状态的指标。一种状态仅含少数期间，每期共处同一市场：p 值按期间计算，能说明的有限。",
        ),
    )
    if not m.regimes:
        section.absent = m.absent.get(
            "regimes", Text("the cases carry no time", "样本没有时间信息")
        )
        return section
    rows = []
    for name, chosen in m.regimes.items():
        own = dis.auc_delong(v.score[chosen], v.label[chosen])
        ratio, test = cal.observed_to_expected(
            v.probability[chosen],
            v.label[chosen],
            None if v.period is None else v.period[chosen],
            v.periods,
        )
        rows.append(
            [
                name,
                int(chosen.sum()),
                int(v.label[chosen].sum()),
                own.value,
                own.low,
                own.high,
                ratio,
                test.p_value,
                test.detectable,
            ]
        )
    section.tables.append(
        table(
            "regimes",
            "Figures by regime",
            "各状态的指标",
            [
                column("regime", "Regime", "状态", "text"),
                column("cases", "Cases", "样本数", "count"),
                column("events", "Events", "事件数", "count"),
                column("auc", "AUC", "AUC"),
                column("low", "low", "下限"),
                column("high", "high", "上限"),
                column("ratio", "Events / expected", "实际/预期"),
                column("p", "p", "p", "p"),
                column(
                    "detectable", "least shift found (80 % power)", "可检出最小偏移（80% 功效）"
                ),
            ],
            rows,
            dis.auc_delong,
            h,
        )
    )
    return section
