"""One client's decision as the page shows it: head, waterfalls, reasons, lines, hashes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import PROB_ONE, RATIO_ONE, parse_decimal
from models.reasons import render
from training.report.formats import (
    DASH,
    display_names,
    feature_value,
    log_odds,
    money,
    number,
    percent,
)
from training.report.texts import (
    CAP_TERM_TEXTS,
    HASH_TEXTS,
    LINE_TEXTS,
    OUTCOME_TEXTS,
    RATE_COMPONENT_TEXTS,
    Language,
    Term,
    Text,
    same,
)
from training.report.waterfall import Bar, waterfall_svg

TOP_FEATURES: Final = 9
SHORT_HASH: Final = 12
Names = Mapping[str, tuple[str, str]]


def _minor(amount: str, what: str) -> int:
    return parse_decimal(amount, 2, what)


def _show_minor(currency: str, value: int, sign: bool = False) -> str:
    return money(Decimal(value) / 100, currency, sign)


def _term(texts: Mapping[str, Term], code: str) -> Text:
    return texts[code].name if code in texts else same(code)


def score_svg(body: Mapping[str, Any], names: Names, language: Language) -> str:
    """From the reference population's base through the largest features to the client's score."""
    values = [int(v) for v in body["attributions"]["values"]]
    if len(values) != len(names):
        raise InputError(
            f"decision {body['decision_id']} has {len(values)} attributions for {len(names)}"
            " features; give the names of its own feature set, in order"
        )
    labels = [Text(*pair) for pair in names.values()]
    order = sorted(range(len(values)), key=lambda k: -abs(values[k]))
    top = [k for k in order[:TOP_FEATURES] if values[k]]
    rest = [k for k in order if k not in top]
    steps = [Bar(labels[k], values[k]) for k in top]
    if rest:
        others = Text(f"The other {len(rest)} features", f"其余 {len(rest)} 项特征")
        steps.append(Bar(others, sum(values[k] for k in rest)))
    return waterfall_svg(
        name="example-score",
        title=Text("How the score came about", "评分如何得出"),
        description=Text(
            "Log-odds of default: from the mean of the reference population, feature by feature, to"
            " the client's score. +0.69 doubles the odds.",
            "违约对数几率：自参照人群均值起，逐项特征，至该客户的评分。+0.69 即几率翻倍。",
        ),
        start=Bar(
            Text("Base: reference population", "基准：参照人群"), int(body["attributions"]["base"])
        ),
        steps=steps,
        total=Bar(Text("Score of this client", "该客户的评分"), int(body["score"])),
        up=Text("raises risk", "风险上升"),
        down=Text("lowers risk", "风险下降"),
        adverse=1,
        show=log_odds,
        show_change=partial(log_odds, sign=True),
        language=language,
        from_zero=False,
    )


def cap_svg(body: Mapping[str, Any], language: Language) -> str:
    """From the statutory limit, minus what each further term removes, to the cap."""
    first, *terms = body["cap_waterfall"]
    currency = str(body["currency"])
    steps = [
        Bar(
            _term(CAP_TERM_TEXTS, t["term"]),
            None if t["limit_amt"] is None else -_minor(t["removed_amt"], t["term"]),
        )
        for t in terms
    ]
    start = first["limit_amt"]
    return waterfall_svg(
        name="example-cap",
        title=Text("How the limit came about", "额度如何得出"),
        description=Text(
            "Money: from the limit of law and exchange rule, less what each term removes, to the"
            " most debt the client may hold. A dash: the term does not apply.",
            "金额：自法规与交易所额度起，减去各项扣减，至客户最高可承担负债。短横表示该项不适用。",
        ),
        start=Bar(
            _term(CAP_TERM_TEXTS, first["term"]),
            None if start is None else _minor(start, "statutory"),
        ),
        steps=steps,
        total=Bar(
            Text("Limit of this client", "该客户额度"),
            _minor(body["max_debt_amt"], "max_debt_amt"),
        ),
        up=Text("raises the limit", "提高额度"),
        down=Text("lowers the limit", "降低额度"),
        adverse=-1,
        show=partial(_show_minor, currency),
        show_change=partial(_show_minor, currency, sign=True),
        language=language,
    )


def rate_svg(body: Mapping[str, Any], language: Language) -> str:
    """The components of the rate, in basis points."""
    first, *rest = body["rate_waterfall"]
    return waterfall_svg(
        name="example-rate",
        title=Text("How the rate came about", "利率如何得出"),
        description=Text(
            "Basis points a year (100 bps are 1 %): from the cost of funding, component by"
            " component, to the client's rate.",
            "年化基点（100 基点为 1%）：自资金成本起，逐项相加，至该客户利率。",
        ),
        start=Bar(_term(RATE_COMPONENT_TEXTS, first["component"]), int(first["bps"])),
        steps=[
            Bar(_term(RATE_COMPONENT_TEXTS, c["component"]), None if c["bps"] is None else c["bps"])
            for c in rest
        ],
        total=Bar(Text("Rate of this client", "该客户利率"), int(body["rate_bps"])),
        up=Text("adds to the rate", "提高利率"),
        down=Text("takes off the rate", "降低利率"),
        adverse=1,
        show=lambda bps: f"{number(bps)} bps",
        show_change=lambda bps: f"{number(bps, sign=True)} bps",
        language=language,
    )


def _reasons(body: Mapping[str, Any], names: Names) -> tuple[list[dict[str, Text]], int]:
    """The reasons for the client's eyes, with the feature's value; and how many are not."""
    english, chinese = display_names(names)
    currency = str(body["currency"])
    shown, hidden = [], 0
    for item in body["reasons"]:
        arguments: dict[str, Any] = {
            k: money(v, currency) if k in ("requested", "limit") else v
            for k, v in item["args"].items()
        }
        item = {"code": item["code"], "args": arguments}
        en, zh = render(item, "en", "client", english), render(item, "zh", "client", chinese)
        if en is None or zh is None:
            hidden += 1
            continue
        value = same("")
        if "feature" in arguments:
            value = feature_value(arguments["feature"], arguments.get("value"), currency)
        shown.append({"text": Text(en, zh), "value": value, "code": same(item["code"])})
    return shown, hidden


def _distance(value: int | None) -> Text:
    if value is None:
        return same(DASH)
    if value <= 0:
        return Text("reached already", "已触及")
    share = percent(value / RATIO_ONE)
    return Text(f"a fall of {share}", f"再跌 {share}")


def example_view(body: Mapping[str, Any], names: Names, out: str | None) -> dict[str, Any]:
    """Everything the template shows of one decision, as text; ``out`` is the folder it lies in."""
    currency = str(body["currency"])
    pd = {k: percent(v / PROB_ONE) for k, v in body["pd"].items()}
    leverage, bps, asked = (
        body["max_leverage_milli"],
        body["rate_bps"],
        body["request"]["requested_debt_amt"],
    )
    reasons, hidden = _reasons(body, names)
    maintenance = body["maintenance_ratio"]
    hashes = {"decision": sha256_hex(canonical_bytes(dict(body))), **body["hashes"]}
    lake = f" --lake {shlex.quote(out)}" if out else ""
    head = [
        (Text("Outcome", "结果"), OUTCOME_TEXTS.get(body["outcome"], same(body["outcome"]))),
        (Text("Credit tier", "信用等级"), same(str(body["tier"]))),
        (
            Text("Chance of default in a year (95 % interval)", "一年违约概率（95% 区间）"),
            Text(
                f"{pd['value']} ({pd['low']} to {pd['high']})",
                f"{pd['value']}（{pd['low']} 至 {pd['high']}）",
            ),
        ),
        (Text("Most debt", "最高负债"), same(money(body["max_debt_amt"], currency))),
        (
            Text("Leverage at that debt", "对应杠杆"),
            same(DASH if leverage is None else f"{number(leverage / 1000, 2)}×"),
        ),
        (Text("Rate a year", "年利率"), same(f"{number(bps / 100, 2)} % ({number(bps)} bps)")),
        (Text("Debt now", "现有负债"), same(money(body["debt_amt"], currency))),
        (Text("Own equity", "自有资金"), same(money(body["equity_amt"], currency))),
        (Text("Amount asked for", "申请金额"), same(money(asked, currency))),
        (Text("Decided on prices of", "决策所用行情日"), same(str(body["as_of"]))),
        (Text("In force from", "生效日"), same(str(body["effective_on"]))),
    ]
    return {
        "head": head,
        "decision_id": body["decision_id"],
        "client_id": body["client_id"],
        "provisional": bool(body["provisional"]),
        "reasons": reasons,
        "hidden": hidden,
        "maintenance": percent(None if maintenance is None else maintenance / RATIO_ONE),
        "lines": [
            {
                "name": _term(LINE_TEXTS, name),
                "meaning": LINE_TEXTS[name].meaning if name in LINE_TEXTS else same(DASH),
                "at": percent(value / RATIO_ONE),
                "distance": _distance(body["distances"].get(name)),
            }
            for name, value in body["lines"].items()
        ],
        "hashes": [(HASH_TEXTS.get(k, same(k)), v[:SHORT_HASH], v) for k, v in hashes.items()],
        "command": f"gearline replay {shlex.quote(str(body['decision_id']))}{lake}",
    }
