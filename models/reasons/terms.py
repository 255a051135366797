"""The terms of a cap in plain words, in English and Chinese, as every page says them."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Language = Literal["en", "zh", "both"]
"""``both`` stacks the two languages, for a picture that stands alone."""


class Text(NamedTuple):
    """The same words in two languages."""

    en: str
    zh: str

    def lines(self, language: Language) -> list[str]:
        """The text in a language, or in both, one line each; one line where they are equal."""
        if language == "both":
            return [self.en] if self.en == self.zh else [self.en, self.zh]
        return [self.zh if language == "zh" else self.en]

    def one_line(self, language: Language) -> str:
        """As ``lines``, joined."""
        return " / ".join(self.lines(language))


def same(text: str) -> Text:
    """A text that needs no translation: a number, a code, a currency."""
    return Text(text, text)


class Term(NamedTuple):
    """A term's short name and what it means in plain words."""

    name: Text
    meaning: Text


CAP_TERM_TEXTS: Final[dict[str, Term]] = {
    "statutory": Term(
        Text("Law and exchange rule", "法规与交易所规则"),
        Text(
            "The most debt that law or exchange rule lets any client hold against these assets.",
            "法律法规或交易所规则允许任何客户以这些资产承担的最高负债。",
        ),
    ),
    "line": Term(
        Text("Room above the call line", "距追保线的余地"),
        Text(
            "Debt small enough that one sharp fall of these holdings stays above the call line.",
            "使持仓经历一次急跌后仍高于追保线的负债。",
        ),
    ),
    "concentration": Term(
        Text("Largest holding", "单一持仓集中"),
        Text(
            "A large share of assets in one security supports less debt.",
            "资产集中于单一证券时，可支持的负债较少。",
        ),
    ),
    "group": Term(
        Text("Related clients", "关联客户"),
        Text(
            "Related clients share one limit; this is what the others leave.",
            "关联客户共用一个额度，此为其他关联客户占用后的余额。",
        ),
    ),
    "firm": Term(
        Text("Lender's own limits", "公司自身限额"),
        Text(
            "The lender's capital, quota, or limits on who may be lent to.",
            "公司净资本、总额度，或对可融资客户的限制。",
        ),
    ),
    "structural": Term(
        Text("What the holdings support", "持仓可支持额度"),
        Text(
            "Debt that the holdings support, from how far they have fallen together.",
            "按持仓历史共同跌幅，持仓可支持的负债。",
        ),
    ),
    "behavioural": Term(
        Text("Credit tier", "信用等级"),
        Text(
            "The share of what the holdings support that this client's credit tier may use.",
            "该客户的信用等级可使用的持仓支持额度比例。",
        ),
    ),
    "step": Term(
        Text("Step from the last night", "与上一日的步幅"),
        Text(
            "A limit may rise only by a bounded step from one night to the next.",
            "额度每日上调幅度有上限。",
        ),
    ),
    "override": Term(
        Text("Tightened by a person", "人工收紧"),
        Text(
            "A person set a tighter limit, with a reason on record.",
            "由人工设定更严的额度，理由留档。",
        ),
    ),
}
