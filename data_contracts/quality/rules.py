"""Every rule of every table: stable name, text in English and Chinese, effect, way out.

Row rules, keys, references, clocks and freshness follow from the declarations; the rules between
tables are written down here. ``docs/contracts.md`` lists them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from data_contracts.columns import Table
from data_contracts.row_rules import Bound, NotNull, OneOf, Ordered, RowRule, row_rules
from data_contracts.tables import TABLES

Effect = Literal["left out", "superseded", "reported"]
Kind = Literal["row", "key", "reference", "clock", "fresh", "cross"]

PRICE_TICK: Final = 1
"""Cents by which an exchange's rounding may move a price limit."""
COST_PERCENT: Final = 1
"""Per cent of a fill's price that may be costs inside it."""


@dataclass(frozen=True)
class Rule:
    """One rule. ``name`` is stable: reports, quarantine and Data Docs use it.

    ``effect`` says what happens to a row that breaks it: readers leave it out, readers take the
    later row instead, or it is only reported. ``needs`` are the tables without which it is idle.
    """

    name: str
    table: str
    kind: Kind
    columns: tuple[str, ...]
    en: str
    zh: str
    way_out: str
    way_out_zh: str
    effect: Effect = "reported"
    needs: tuple[str, ...] = ()
    counts: bool = True
    """Whether its rows count towards the share of bad rows above which the run stops."""


_SIGN_NAMES: Final = {">=": "ge", "<=": "le", ">": "gt"}
_ROW_WAYS: Final = {
    NotNull: "补上该值，或去掉该行",
    Bound: "更正该值或其单位",
    OneOf: "改为所列取值之一，或去掉该行",
    Ordered: "更正其中一列",
}


def row_rule_name(spec: Table, rule: RowRule) -> str:
    """The stable name of a row rule, such as ``bars.high_ge_low``."""
    first = rule.columns[0]
    match rule:
        case NotNull():
            return f"{spec.name}.{first}_not_null"
        case OneOf():
            return f"{spec.name}.{first}_one_of"
        case Bound(sign=sign, bound=bound):
            return f"{spec.name}.{first}_{_SIGN_NAMES[sign]}_{bound}".replace("-", "minus_")
        case Ordered(sign=sign, word=word):
            when = "" if word is None else f"_if_{word}"
            return f"{spec.name}.{first}_{_SIGN_NAMES[sign]}_{rule.columns[1]}{when}"
    raise TypeError(type(rule).__name__)


def _row_text_zh(spec: Table, rule: RowRule) -> str:
    zh = {c.name: c.zh for c in spec.columns}
    first = zh[rule.columns[0]]
    match rule:
        case NotNull():
            return f"{first}不得为空"
        case OneOf(choices=choices):
            return f"{first}须为 {'、'.join(choices)} 之一"
        case Bound(sign=sign, bound=bound):
            return f"{first} {sign} {bound}"
        case Ordered(sign=sign, word=word):
            when = "" if word is None else f"（{zh[rule.columns[2]]}为 {word} 时）"
            return f"{first} {sign} {zh[rule.columns[1]]}{when}"
    raise TypeError(type(rule).__name__)


def _declared(spec: Table) -> list[Rule]:
    name = spec.name
    rules = [
        Rule(
            row_rule_name(spec, rule),
            name,
            "row",
            rule.columns,
            rule.name,
            _row_text_zh(spec, rule),
            rule.way_out,
            _ROW_WAYS[type(rule)],
            "left out",
        )
        for rule in row_rules(spec)
    ]
    rules.append(
        Rule(
            f"{name}.key_unique",
            name,
            "key",
            tuple(dict.fromkeys((*spec.key, "known_at"))),
            "one content for a key and known_at; the same row again is no fault",
            "同一键与获知时间只有一种内容；完全相同的行不算错",
            "give a correction a later known_at; the later row was kept",
            "更正请用更晚的获知时间；已保留后一行",
            "superseded",
        )
    )
    for c in spec.columns:
        if c.references is not None:
            home = c.references
            rules.append(
                Rule(
                    f"{name}.{c.name}_in_{home}",
                    name,
                    "reference",
                    (c.name,),
                    f"{c.name} is in table {home}",
                    f"{c.zh}须在表 {home} 中",
                    f"add its row to table {home} or correct the number",
                    f"在表 {home} 中补上该行，或更正编号",
                    needs=(home,),
                )
            )
    if spec.known_after:
        rules.append(
            Rule(
                f"{name}.known_at_ge_event_at",
                name,
                "clock",
                ("known_at", "event_at"),
                "known_at >= event_at: nothing is known before it happens",
                "获知时间不早于发生时间",
                "correct the clock or the time zone of the source",
                "更正来源的时钟或时区",
            )
        )
    if spec.fresh_days is not None:
        rules.append(
            Rule(
                f"{name}.fresh",
                name,
                "fresh",
                ("event_at",),
                f"the newest row lies at most {spec.fresh_days} days behind the book's last day",
                f"最新一行最多落后账簿最后一日 {spec.fresh_days} 天",
                "deliver the missing days",
                "补交缺失的日期",
                counts=False,
            )
        )
    return rules


def _cross(
    name: str,
    columns: tuple[str, ...],
    needs: tuple[str, ...],
    en: str,
    zh: str,
    way_out: str,
    way_out_zh: str,
) -> Rule:
    table = name.split(".")[0]
    return Rule(name, table, "cross", columns, en, zh, way_out, way_out_zh, needs=needs)


_BETWEEN: Final = (
    _cross(
        "trades.not_suspended",
        ("symbol", "executed_at"),
        ("bars",),
        "no fill on a suspended symbol; price 0 marks a booking, which is no fill",
        "停牌证券不得有成交；价格为 0 表示划转，不算成交",
        "correct the symbol or the day, or the bar's suspended flag",
        "更正证券代码或日期，或更正行情的停牌标记",
    ),
    _cross(
        "trades.price_inside_limits",
        ("symbol", "price", "executed_at"),
        ("bars", "instruments"),
        f"the price lies inside the day's limits, up to {COST_PERCENT} % of costs inside it",
        f"成交价在当日涨跌停价之内（价内费用不超过 {COST_PERCENT}%）",
        "correct the price, or the instrument's limit for that day",
        "更正成交价，或更正该日的涨跌幅限制",
    ),
    _cross(
        "bars.prices_inside_limits",
        ("open", "high", "low", "close", "pre_close"),
        ("instruments",),
        "open, high, low and close lie inside the day's limits, to the tick",
        "开高低收均在当日涨跌停价之内（容差一个最小价位）",
        "correct the price, pre_close, or the instrument's limit for that day",
        "更正价格、前收盘参考价，或该日的涨跌幅限制",
    ),
    _cross(
        "trades.reach_positions",
        ("account_id", "symbol", "quantity_shares"),
        ("positions",),
        "fills of a symbol that the account never holds cancel out",
        "账户从未持有的证券，其买卖数量须相抵",
        "add the position or the missing fill",
        "补上持仓或缺失的成交",
    ),
    _cross(
        "positions.quantity_reconciles",
        ("account_id", "symbol", "from_session", "quantity_shares"),
        ("trades",),
        "the holding changes by bought less sold; it ends, or goes on, as the fills after it say",
        "持仓变动等于买入减卖出；其后的成交与持仓的结束或延续一致",
        "add the missing fill; book a transfer or a stock dividend as a trade at price 0",
        "补上缺失的成交；划转或送股记为价格为 0 的成交",
    ),
    _cross(
        "positions.no_overlap",
        ("account_id", "symbol", "from_session", "to_session"),
        (),
        "intervals of a holding do not overlap",
        "同一持仓的区间不得重叠",
        "end the earlier interval before the later begins",
        "在后一区间开始前结束前一区间",
    ),
    _cross(
        "balances.cash_reconciles",
        ("account_id", "session", "cash_amt"),
        ("cash_flows", "trades"),
        "cash = before + flows + sales - purchases + change of debt, to the cent",
        "现金 = 前值 + 资金流水 + 卖出 - 买入 + 负债变动，精确到分",
        "add the missing flow or fill, or correct the balance",
        "补上缺失的流水或成交，或更正余额",
    ),
    _cross(
        "balances.debt_is_sum_of_contracts",
        ("account_id", "session", "debt_amt"),
        ("contracts",),
        "debt = principal still owed on the account's contracts",
        "负债 = 账户全部合约未还本金之和",
        "add the missing version of the contract, or correct the balance",
        "补上缺失的合约版本，或更正余额",
    ),
    _cross(
        "sessions.no_overlap",
        ("mic", "open_at", "close_at"),
        (),
        "a trading day opens after the one before has closed",
        "前一交易日收市后，后一交易日方可开市",
        "correct the hours of one of the two days",
        "更正其中一日的开收市时间",
    ),
)


@cache
def rules_of(name: str) -> tuple[Rule, ...]:
    """The rules of a table: of a row, of its key, references, clock, freshness, other tables."""
    return (*_declared(TABLES[name]), *(rule for rule in _BETWEEN if rule.table == name))


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by its stable name."""
    return {rule.name: rule for name in TABLES for rule in rules_of(name)}
