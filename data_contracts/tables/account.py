"""Tables about margin accounts: trades, cash, loan contracts, positions, calls, reviews."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from data_contracts.columns import col, table

CONTRACT_KINDS = ("margin_loan", "financing")
MARGIN_EVENT_KINDS = ("warn", "call", "cure", "forced_sale", "shortfall", "default")
CASH_KINDS = ("deposit", "withdrawal", "cash_cure", "interest", "corporate_action", "write_off")


@table(
    "accounts",
    key=("account_id",),
    event="opened_on",
    zh="信用账户",
    rules=("closed_on >= opened_on",),
)
class Accounts:
    """A margin account."""

    account_id: str = col("id", "Account number", "账户编号")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    market: str = col("id", "Exchange, ISO 10383", "市场")
    product: str = col("text", "Product", "产品")
    currency: str = col("text", "Currency, ISO 4217", "币种")
    opened_on: dt.date = col("date", "Opened", "开户日")
    closed_on: dt.date | None = col("date", "Closed, null while open", "销户日", nullable=True)


@table("trades", key=("trade_id",), event="executed_at", zh="成交", known_after=True)
class Trades:
    """A fill."""

    trade_id: str = col("id", "Trade number", "成交编号")
    account_id: str = col("id", "Account number", "账户编号", references="accounts")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    symbol: str = col("id", "Symbol", "证券代码", references="instruments")
    side: str = col("text", "Side", "买卖方向", choices=("buy", "sell"))
    quantity_shares: int = col("shares", "Quantity", "数量", low=1)
    price: Decimal = col("price", "Price", "成交价", low=0)
    financed: bool = col(
        "flag", "Bought with, or sold to repay, borrowed money", "融资买入／卖券还款"
    )
    executed_at: dt.datetime = col("timestamp", "Executed", "成交时间")


@table(
    "orders",
    key=("order_id",),
    event="placed_at",
    zh="委托（可选）",
    known_after=True,
    rules=("cancelled_at >= placed_at",),
)
class Orders:
    """An order (optional)."""

    order_id: str = col("id", "Order number", "委托编号")
    account_id: str = col("id", "Account number", "账户编号", references="accounts")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    symbol: str = col("id", "Symbol", "证券代码", references="instruments")
    side: str = col("text", "Side", "买卖方向", choices=("buy", "sell"))
    quantity_shares: int = col("shares", "Quantity", "数量", low=1)
    placed_at: dt.datetime = col("timestamp", "Placed", "委托时间")
    cancelled_at: dt.datetime | None = col("timestamp", "Cancelled", "撤单时间", nullable=True)


@table(
    "cash_flows",
    key=("account_id", "kind", "event_at"),
    event="event_at",
    zh="资金流水",
    known_after=True,
)
class CashFlows:
    """Money in (positive) or out (negative) that is not a trade."""

    account_id: str = col("id", "Account number", "账户编号", references="accounts")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    kind: str = col("text", "Kind", "类别", choices=CASH_KINDS)
    amount_amt: Decimal = col("money", "Amount, positive into the account", "金额（入为正）")


@table(
    "contracts",
    key=("contract_id",),
    event="event_at",
    zh="融资合约",
    known_after=True,
    rules=("outstanding_amt <= principal_amt if kind = financing", "due_on >= opened_on"),
)
class Contracts:
    """A loan contract 融资合约 over an interval; each change of state is a new version.

    A margin loan is drawn and repaid at will, so what is owed may exceed the principal at opening.
    """

    contract_id: str = col("id", "Contract number", "合约编号")
    account_id: str = col("id", "Account number", "账户编号", references="accounts")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    symbol: str | None = col(
        "id",
        "What was bought, null for a margin loan",
        "标的证券",
        nullable=True,
        references="instruments",
    )
    kind: str = col("text", "Kind", "类别", choices=CONTRACT_KINDS)
    opened_on: dt.date = col("date", "Opened", "开仓日")
    due_on: dt.date | None = col("date", "Due, null for on demand", "到期日", nullable=True)
    rollovers: int = col("int", "Times rolled over", "展期次数", low=0)
    quantity_shares: int | None = col(
        "shares",
        "Shares bought with it and still held, null for a margin loan",
        "融资持仓数量",
        nullable=True,
        low=0,
    )
    principal_amt: Decimal = col("money", "Principal at opening", "合约本金", low=0)
    outstanding_amt: Decimal = col("money", "Principal still owed", "未还本金", low=0)
    accrued_amt: Decimal = col("money", "Interest owed", "应付利息", low=0)
    ratio_at_opening: Decimal = col("ratio", "Margin ratio when opened", "开仓保证金比例", low=0)
    rate_bps: int = col("bps", "Rate", "合约利率", low=0)
    rule_pack: str = col("id", "Policy pack in force at opening", "适用规则包")


@table(
    "positions",
    key=("account_id", "symbol", "from_session"),
    event="from_session",
    zh="持仓区间",
    known_after=True,
    rules=("to_session >= from_session",),
)
class Positions:
    """A holding over an interval of sessions, both ends included."""

    account_id: str = col("id", "Account number", "账户编号", references="accounts")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    symbol: str = col("id", "Symbol", "证券代码", references="instruments")
    from_session: dt.date = col("date", "First session held", "起始交易日")
    to_session: dt.date | None = col(
        "date", "Last session held, null while current", "截止交易日", nullable=True
    )
    quantity_shares: int = col("shares", "Quantity", "数量", low=0)
    cost_amt: Decimal = col("money", "Average-cost value of the holding", "持仓成本")


@table(
    "balances",
    key=("account_id", "session"),
    event="session",
    zh="日终余额",
    known_after=True,
    fresh_days=4,
)
class Balances:
    """Cash and debt at the end of a session."""

    account_id: str = col("id", "Account number", "账户编号", references="accounts")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    session: dt.date = col("date", "Trading day", "交易日")
    cash_amt: Decimal = col("money", "Cash", "现金")
    debt_amt: Decimal = col("money", "Principal owed", "融资负债本金", low=0)
    accrued_amt: Decimal = col("money", "Interest owed", "应付利息", low=0)


@table(
    "margin_events",
    key=("account_id", "kind", "event_at"),
    event="event_at",
    zh="追保与强平事件",
    known_after=True,
)
class MarginEvents:
    """Warn, call, cure, forced sale, shortfall, default."""

    account_id: str = col("id", "Account number", "账户编号", references="accounts")
    client_id: str = col("id", "Random client number", "客户编号", references="clients")
    kind: str = col("text", "Kind", "类别", choices=MARGIN_EVENT_KINDS)
    amount_amt: Decimal = col("money", "Amount called, cured, sold or lost", "金额", low=0)
    deadline_at: dt.datetime | None = col(
        "timestamp", "Deadline of a call", "追保期限", nullable=True
    )


@table(
    "reviews",
    key=("decision_id", "reviewer", "acted_at"),
    event="acted_at",
    zh="人工复核",
    known_after=True,
)
class Reviews:
    """An act of a person on a decision, exported from the ledger."""

    decision_id: str = col("id", "Decision", "决定编号")
    reviewer: str = col("id", "Who", "复核人")
    kind: str = col("text", "Kind of act", "动作")
    side: str | None = col("text", "Looser or tighter", "方向", nullable=True)
    reason: str = col("text", "Reason given", "理由")
    before: str | None = col("text", "Before", "之前", nullable=True)
    after: str | None = col("text", "After", "之后", nullable=True)
    acted_at: dt.datetime = col("timestamp", "When", "时间")
