"""The words of the report: every term of a cap, a rate and a decision, in English and Chinese."""

from __future__ import annotations

from typing import Final

from models.decide.facts import LINE_NAMES
from models.reasons.terms import CAP_TERM_TEXTS, Language, Term, Text, same

__all__ = [
    "CAP_TERM_TEXTS", "HASH_TEXTS", "LINE_TEXTS", "OUTCOME_TEXTS", "RATE_COMPONENT_TEXTS",
    "STAGE_TEXTS", "TRAINING_TEXTS", "UNIT_TEXTS", "Language", "Term", "Text", "same",
]  # fmt: skip

RATE_COMPONENT_TEXTS: Final[dict[str, Term]] = {
    "funding": Term(
        Text("Funding", "资金成本"),
        Text("What the lender's own money costs.", "公司自身的融资成本。"),
    ),
    "operating": Term(
        Text("Operating cost", "运营成本"),
        Text("Staff, systems and settlement.", "人员、系统与结算。"),
    ),
    "expected_loss": Term(
        Text("Expected loss", "预期损失"),
        Text(
            "Chance of default in a year times the share of debt then lost.",
            "一年违约概率乘以违约损失率。",
        ),
    ),
    "capital": Term(
        Text("Capital charge", "资本成本"),
        Text(
            "Return on the capital held against losses above the expected.",
            "为超出预期的损失所持资本的回报。",
        ),
    ),
    "liquidity": Term(
        Text("Liquidity", "流动性"),
        Text("Cost of keeping money ready.", "保持资金随时可用的成本。"),
    ),
    "utilisation": Term(
        Text("Utilisation", "额度使用率"),
        Text(
            "Add-on that grows as the lender's quota fills up.",
            "随公司总额度使用率上升的加点。",
        ),
    ),
    "commercial_margin": Term(
        Text("Commercial margin", "商业利润"), Text("The lender's margin.", "公司的利润加点。")
    ),
    "tier_shift": Term(
        Text("Tier alignment", "等级调整"),
        Text(
            "One shift per tier, so that better tiers never pay more.",
            "每级统一调整，使较好等级的利率不高于较差等级。",
        ),
    ),
    "step": Term(
        Text("Step from the last rate", "与上次利率的步幅"),
        Text("Holds back a change larger than the bound.", "限制单次利率变动的幅度。"),
    ),
    "clip": Term(
        Text("Floor or ceiling", "下限或上限"),
        Text("Keeps the rate inside its floor and ceiling.", "使利率处于下限与上限之间。"),
    ),
}

LINE_TEXTS: Final[dict[str, Term]] = dict(
    zip(
        LINE_NAMES,
        (
            Term(
                Text("Observation line", "关注线"),
                Text("The account is watched.", "账户列入关注。"),
            ),
            Term(Text("Warning line", "预警线"), Text("The client is told.", "提示客户。")),
            Term(
                Text("Call line", "追保线"),
                Text("The client must add collateral or repay.", "客户须追加担保物或还款。"),
            ),
            Term(
                Text("Close-out line", "平仓线"),
                Text("The lender may sell holdings.", "公司可以处置持仓。"),
            ),
        ),
        strict=True,
    )
)

OUTCOME_TEXTS: Final[dict[str, Text]] = {
    "approve": Text("✓ approved", "✓ 通过"),
    "refer": Text("→ referred to a person", "→ 转人工"),
    "decline": Text("✕ declined", "✕ 拒绝"),
}

STAGE_TEXTS: Final[dict[str, Text]] = {
    "market": Text("market", "行情"),
    "simulate": Text("simulate", "模拟"),
    "features": Text("features", "特征"),
    "load": Text("load", "载入"),
    "check": Text("check", "核验"),
    "fit": Text("fit", "拟合"),
    "decide": Text("decide", "决策"),
    "ledger": Text("ledger", "账本"),
    "judge": Text("judge", "评判"),
    "report": Text("report", "报告"),
    "write": Text("write", "写入"),
    "total": Text("total", "合计"),
}

HASH_TEXTS: Final[dict[str, Text]] = {
    "decision": Text("Decision", "决定"),
    "case": Text("Client case", "客户案例"),
    "features": Text("Feature values", "特征取值"),
    "feature_set": Text("Feature set", "特征集"),
    "bundle": Text("Scorer bundle", "评分模型包"),
    "reference": Text("Reference population", "参照人群"),
    "policy": Text("Policy pack", "政策包"),
    "market": Text("Market snapshot", "市场快照"),
}

TRAINING_TEXTS: Final[dict[str, Text]] = {
    "feature_set": Text("Feature set", "特征集"),
    "training_rows": Text("Training rows", "训练样本数"),
    "training_defaults": Text("Defaults among them", "其中违约数"),
    "trees": Text("Trees", "树的数量"),
    "train_first": Text("First training session", "训练首日"),
    "train_last": Text("Last training session", "训练末日"),
    "test_first": Text("First test session", "检验首日"),
    "test_last": Text("Last test session", "检验末日"),
    "auc_calibration_clients": Text("AUC on calibration clients", "校准客户上的 AUC"),
    "calibration_method": Text("Calibration", "校准方法"),
    "market_years": Text("Market years in calibration", "校准所含市场年数"),
    "largest_difference_to_shap": Text(
        "Largest difference to the shap library", "与 shap 库的最大差异"
    ),
}

UNIT_TEXTS: Final[dict[str, Text]] = {
    "x": Text("x", "倍"),
    "times": Text("times", "次"),
    "calls": Text("calls", "次"),
    "forced sales": Text("forced sales", "次"),
    "sessions": Text("sessions", "个交易日"),
    "years of income": Text("years of income", "年收入"),
    "months": Text("months", "个月"),
    "points": Text("points", "分"),
    "level": Text("(level)", "级"),
    "rank": Text("(rank)", "级"),
    "calendar days": Text("calendar days", "天"),
    "standard deviations": Text("standard deviations", "个标准差"),
    "1 = the index": Text("(the index is 1)", "（指数为 1）"),
    "1 = one name": Text("(1 is a single name)", "（1 为单一证券）"),
    "trades": Text("trades", "笔"),
    "difference of shares": Text("(difference of shares)", "（比例之差）"),
}
