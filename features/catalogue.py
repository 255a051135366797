"""What a lender of this kind is expected to look at, and which features look at it.

Each item names the features that realise it, or says why some or all of it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Item:
    """One item. ``skipped`` says what of it is left out and why; empty if nothing is."""

    number: int
    en: str
    zh: str
    features: tuple[str, ...]
    skipped: str = ""


NO_TABLE: Final = "no contract table holds it"

CATALOGUE: Final = (
    Item(1, "Distance to a margin call", "距追保线距离", ("distance_to_call_sigma",)),
    Item(2, "Maintenance ratio, leverage, use of the limit", "维持担保比例、杠杆、额度使用",
         ("maintenance_ratio", "leverage_ratio"),
         "use of the limit: a limit is a decision, and no feature reads a decision"),
    Item(3, "Volatility, beta, tail and best days of the holdings", "组合波动、贝塔、尾部与MAX",
         ("portfolio_volatility_60_sessions_ratio", "beta", "max5_return"),
         "expected shortfall: computed with the security margins, not learned"),
    Item(4, "Concentration by name, industry and theme", "个股、行业、题材集中度",
         ("largest_weight_ratio", "herfindahl_ratio", "largest_industry_ratio"),
         f"theme: {NO_TABLE}"),
    Item(5, "Price limits, boards, special treatment, new listings", "涨跌幅、板块、风险警示、次新",
         ("high_limit_share", "special_treatment_share", "new_listing_share")),
    Item(6, "Time to sell, price impact, suspended or locked", "变现天数、冲击成本、停牌与锁定",
         ("days_to_liquidate", "suspended_share", "price_impact_ratio"),
         "bought today and locked: left to the margins"),
    Item(7, "Crowding with other borrowers", "融资拥挤度", ("crowding_ratio",),
         "overlap with the book is a firm-level term"),
    Item(8, "Turnover", "换手率",
         ("turnover_20_sessions_ratio", "turnover_60_sessions_ratio",
          "turnover_250_sessions_ratio", "traded_value_20_sessions_amt",
          "traded_value_250_sessions_amt", "traded_value_decaying_amt", "trades_20_sessions",
          "trades_60_sessions", "trades_250_sessions", "mean_trade_60_sessions_amt",
          "active_sessions_60_share", "active_sessions_250_share", "trading_acceleration_ratio",
          "sessions_since_trade")),
    Item(9, "Day trades and holding time", "日内回转与持有期",
         ("day_trade_60_sessions_share", "day_trade_250_sessions_share",
          "holding_sessions_mean")),
    Item(10, "Disposition effect, buying into losses", "处置效应与亏损补仓",
         ("disposition_ratio", "averaging_down_share", "paper_gain_average_cost_ratio",
          "gain_diluted_cost_ratio")),
    Item(11, "Lottery-like stocks", "彩票型股票", ("lottery_share",)),
    Item(12, "Chasing momentum, buying at the limit", "追涨与涨停买入",
         ("momentum_chasing_share",),
         "at the limit: many markets come without the reference price it needs"),
    Item(13, "Skill out of sample", "样本外交易能力", (),
         "needs priors fitted on other clients, which a feature may not read"),
    Item(14, "Drawdown, loss streak, volatility of results", "回撤、连亏、净值波动",
         ("nav_return_60", "max_drawdown_60_sessions_ratio", "max_drawdown_250_sessions_ratio",
          "equity_volatility_60_sessions_ratio"), "loss streak: said by drawdown and return"),
    Item(15, "Borrowing after gains, trend of leverage", "盈利后加杠杆与杠杆趋势",
         ("relever_after_gain", "leverage_change_20_sessions", "financed_buys_60_sessions_share",
          "financed_buys_250_sessions_share")),
    Item(16, "Calls, cures and forced sales", "追保、补足与强平",
         ("calls_250_sessions", "forced_sales_250_sessions", "cures_cash_share",
          "sessions_since_call"), "time to cure: too few cures a client to be stated"),
    Item(17, "Deleveraging ahead of trouble", "主动降杠杆",
         ("net_buying_20_sessions_ratio", "net_buying_60_sessions_ratio"),
         "in past drawdowns only: too few of them a client"),
    Item(18, "Cash buffer, outside liquid assets, deposits", "现金缓冲、账外流动资产、入金",
         ("cash_share_ratio", "liquid_assets_to_debt_ratio", "declared_liquid_assets_amt",
          "liquid_share_of_net_worth_ratio", "net_deposits_60_sessions_ratio")),
    Item(19, "Withdrawals near the withdrawal line", "提取线附近净转出",
         ("net_deposits_60_sessions_ratio",),
         "near the line: the line is policy's, and no feature reads policy"),
    Item(20, "Age, roll-overs and arrears of loans", "合约期限、展期与欠息",
         ("oldest_loan_days", "rollovers_largest", "accrued_share_of_debt_ratio")),
    Item(21, "Cancelled and late orders, app sessions", "撤单、夜间委托、登录行为", (),
         f"orders are an optional table that no importer fills; app sessions: {NO_TABLE}"),
    Item(22, "Response to notices", "对通知的响应时延", (), f"notices sent and read: {NO_TABLE}"),
    Item(23, "Buying when the market is high", "择时相关性", (),
         "two hundred sessions of net buying a client are too few for a stable correlation"),
    Item(24, "Size, age of the account, years of trading", "账户规模、开户年限、交易经验",
         ("account_assets_amt", "account_age_sessions", "experience_months",
          "declared_net_worth_amt")),
    Item(25, "Financial literacy", "金融知识", ("literacy_score", "suitability_level"),
         f"confidence beside the score: {NO_TABLE}"),
    Item(26, "Income, net worth, debt to income", "收入、净资产、负债收入比",
         ("declared_income_amt", "net_worth_to_income_ratio", "net_worth_to_debt_ratio",
          "debt_to_income_ratio"), f"occupation and stability of income: {NO_TABLE}"),
    Item(27, "Credit bureau, court records", "征信与司法记录", ("bureau_risk_rank",),
         f"court and enforcement records: {NO_TABLE}"),
    Item(28, "Related accounts", "关联账户", (),
         "a limit on the whole group, pooled in the decision, not a feature of one client"),
    Item(29, "Insiders, locked shares, pledges", "内部人、限售与质押", (), NO_TABLE),
    Item(30, "State of the market", "市场状态",
         ("index_drawdown_250_sessions_ratio", "index_volatility_20_sessions_ratio",
          "market_financing_ratio", "market_financing_growth_20_sessions_ratio"),
         "names at the limit: needs reference prices"),
)  # fmt: skip
"""Protected attributes are no items: no feature reads them."""
BESIDE: Final = ("kyc_age_days",)
"""Features that no item asks for."""
