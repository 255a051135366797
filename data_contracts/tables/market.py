"""Tables shared by all clients: securities, prices, trading days, funding, the lender."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_contracts.columns import col, table


@table(
    "instruments", key=("symbol", "mic", "session"), event="session", zh="证券参数", bucketed=False
)
class Instruments:
    """A security as of a session: board, limits, eligibility, haircut."""

    symbol: str = col("id", "Symbol on its exchange", "证券代码", privacy="public")
    mic: str = col("id", "Exchange, ISO 10383", "交易所", privacy="public")
    session: dt.date = col(
        "date", "First session these values hold", "生效交易日", privacy="public"
    )
    board: str = col(
        "text",
        "Board",
        "板块",
        privacy="public",
        choices=("main", "chinext", "star", "bse", "us", "index"),
    )
    currency: str = col("text", "Currency, ISO 4217", "币种", privacy="public")
    price_limit_ratio: Decimal | None = col(
        "ratio",
        "Daily price limit, null for none",
        "涨跌幅限制",
        nullable=True,
        low=0,
        high=1,
        privacy="public",
    )
    collateral_haircut_ratio: Decimal | None = col(
        "ratio",
        "Share of value counted as collateral (折算率)",
        "折算率",
        nullable=True,
        low=0,
        high=1,
        privacy="public",
    )
    margin_eligible: bool = col("flag", "May be bought on margin", "融资标的", privacy="public")
    collateral_eligible: bool = col(
        "flag", "Counts as collateral", "可充抵保证金", privacy="public"
    )
    is_special_treatment: bool = col("flag", "ST or *ST", "风险警示", privacy="public")
    listed_on: dt.date | None = col(
        "date", "First trading day", "上市日", nullable=True, privacy="public"
    )
    industry: str | None = col("text", "Industry", "行业", nullable=True, privacy="public")
    float_shares: int | None = col(
        "shares", "Tradable shares", "流通股本", nullable=True, low=0, privacy="public"
    )


@table(
    "bars",
    key=("symbol", "mic", "session"),
    event="session",
    zh="日行情",
    bucketed=False,
    known_after=True,
    fresh_days=4,
    rules=("close > 0", "pre_close > 0", "high >= low"),
)
class Bars:
    """A security's session. Closes alone are allowed; what is unknown is null, never invented."""

    symbol: str = col(
        "id", "Symbol on its exchange", "证券代码", privacy="public", references="instruments"
    )
    mic: str = col("id", "Exchange, ISO 10383", "交易所", privacy="public")
    session: dt.date = col("date", "Trading day", "交易日", privacy="public")
    open: Decimal | None = col("price", "Open", "开盘价", nullable=True, low=0, privacy="public")
    high: Decimal | None = col("price", "High", "最高价", nullable=True, low=0, privacy="public")
    low: Decimal | None = col("price", "Low", "最低价", nullable=True, low=0, privacy="public")
    close: Decimal = col(
        "price", "Close; while suspended the last close", "收盘价", low=0, privacy="public"
    )
    pre_close: Decimal | None = col(
        "price",
        "Exchange reference price: close/pre_close-1 is the return",
        "前收盘参考价",
        nullable=True,
        low=0,
        privacy="public",
    )
    volume_shares: int | None = col(
        "shares", "Volume", "成交量", nullable=True, low=0, privacy="public"
    )
    turnover_amt: Decimal | None = col(
        "money", "Turnover", "成交额", nullable=True, low=0, privacy="public"
    )
    suspended: bool = col("flag", "No trading this session", "停牌", privacy="public")


@table(
    "sessions",
    key=("mic", "session"),
    event="session",
    zh="交易日历",
    bucketed=False,
    fresh_days=0,
    rules=("close_at > open_at",),
)
class Sessions:
    """A trading day of an exchange."""

    mic: str = col("id", "Exchange, ISO 10383", "交易所", privacy="public")
    session: dt.date = col("date", "Trading day", "交易日", privacy="public")
    open_at: dt.datetime = col("timestamp", "Open", "开市", privacy="public")
    close_at: dt.datetime = col("timestamp", "Close", "收市", privacy="public")


@table(
    "security_financing",
    key=("symbol", "session"),
    event="session",
    zh="个券融资余额",
    bucketed=False,
    fresh_days=10,
)
class SecurityFinancing:
    """Crowding in a name: how much of its float is bought on margin."""

    symbol: str = col("id", "Symbol", "证券代码", privacy="public", references="instruments")
    session: dt.date = col("date", "Trading day", "交易日", privacy="public")
    financing_balance_amt: Decimal = col(
        "money", "Margin debt in the name", "融资余额", low=0, privacy="public"
    )
    float_value_amt: Decimal | None = col(
        "money", "Tradable market value", "流通市值", nullable=True, low=0, privacy="public"
    )


@table(
    "firm_state",
    key=("session",),
    event="session",
    zh="公司状态",
    bucketed=False,
    known_after=True,
    fresh_days=4,
)
class FirmState:
    """The lender: capital, quota and what is drawn."""

    session: dt.date = col("date", "Trading day", "交易日")
    net_capital_amt: Decimal = col("money", "Net capital", "净资本", low=0)
    quota_amt: Decimal = col("money", "Total lending quota", "融资总额度", low=0)
    drawn_amt: Decimal = col("money", "Drawn debt", "已用额度", low=0)


@table(
    "rates",
    key=("session", "tenor_days"),
    event="session",
    zh="资金成本曲线",
    bucketed=False,
    fresh_days=10,
)
class Rates:
    """A point of the funding curve."""

    session: dt.date = col("date", "Trading day", "交易日", privacy="public")
    tenor_days: int = col("int", "Tenor", "期限（天）", low=1, privacy="public")
    rate_bps: int = col("bps", "Rate", "利率", privacy="public")
