"""The page of a stress document: pictures with the table that says the same beside each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.lake import write_atomically
from data_contracts.units import parse_decimal
from training.report.document import Section, Table, render_document, write_page
from training.report.formats import number, percent
from training.report.svg import BLUE, GRID, MUTED, ORANGE, SLATE, Canvas
from training.report.texts import Language, Text, same
from training.report.waterfall import Bar, nice_step, waterfall_svg

PAGE, DOCUMENT = "stress.html", "stress.json"
WIDTH: Final = 860.0
SCENARIO_TEXTS: Final = {
    "zero": Text("Nothing happens", "无冲击"),
    "mild": Text("Mild", "轻度"),
    "normal": Text("Normal", "中度"),
    "extreme": Text("Extreme", "极端"),
}
MARGIN_TEXTS: Final = {
    "fixed": Text("The pack's fixed lines", "规则包的固定担保线"),
    "damped": Text("Margins move, with the layer", "保证金变动（有逆周期层）"),
    "raw": Text("Margins move, without it", "保证金变动（无逆周期层）"),
}
LAYER_TEXTS: Final = {
    "client": Text("The clients' other means", "客户其他资产"),
    "pool": Text("The reserve pool", "风险准备金"),
    "capital": Text("The lender's capital", "公司资本"),
    "uncovered": Text("Nobody", "无人承担"),
}
NOT_APPLICABLE: Final = Text("not applicable", "不适用")


def _minor(amount: str) -> int:
    return parse_decimal(amount, 2, "amount")


def _n(columns: int) -> frozenset[int]:
    return frozenset(range(1, columns))


def _times(value: float | None) -> Text | str:
    return NOT_APPLICABLE if value is None else f"{number(value, 2)} ×"


def bars_by_group(
    name: str,
    title: Text,
    description: Text,
    groups: Sequence[Text],
    series: Sequence[tuple[Text, str, str, Sequence[float]]],
    language: Language,
) -> str:
    """Upright bars side by side; every bar carries its figure, each series its own mark and word.

    Parameters
    ----------
    series : words, colour, mark before the figure, and a value a group, none below zero
    """
    height, left, right, top, bottom = 320.0, 80.0, WIDTH - 16, 52.0, 256.0
    canvas = Canvas(name, WIDTH, height, title, description, language)
    canvas.legend(
        left, 20,
        [("rect", colour, Text(f"{mark} {w.en}", f"{mark} {w.zh}")) for w, colour, mark, _ in series],
    )  # fmt: skip
    most = max((v for *_, values in series for v in values), default=0.0)
    step = nice_step(most or 1.0, 4)
    ticks = int((most or 1.0) / step + 0.999)
    span = step * ticks

    def at(value: float) -> float:
        return bottom - value / span * (bottom - top)

    for k in range(ticks + 1):
        canvas.line(left, at(step * k), right, at(step * k), GRID)
        canvas.text(left - 8, at(step * k) + 4.5, number(step * k), text_anchor="end", fill=MUTED)
    slot = (right - left) / max(len(groups), 1)
    width = min(26.0, slot * 0.8 / max(len(series), 1))
    for k, group in enumerate(groups):
        x = left + slot * (k + 0.5) - width * len(series) / 2
        canvas.label(left + slot * (k + 0.5), height - 34, group, slot - 4, text_anchor="middle")
        for j, (_, colour, mark, values) in enumerate(series):
            value = values[k]
            canvas.rect(
                x + width * j, at(value), width - 2, bottom - at(value), colour,
                data_value=repr(value),
            )  # fmt: skip
            canvas.text(
                x + width * (j + 0.5) - 1, at(value) - 4, f"{mark}{number(value)}",
                text_anchor="middle", font_size="10",
            )  # fmt: skip
    return canvas.render()


def _losses(d: Mapping[str, Any], currency: str) -> Section:
    losses = [_minor(r["shortfall_amt"]) for r in d["ladder"]]
    names = [SCENARIO_TEXTS[r["scenario"]] for r in d["ladder"]]

    def draw(language: Language) -> str:
        return waterfall_svg(
            name="losses",
            title=Text("Losses by scenario", "各情景损失"),
            description=Text(
                "What each scenario loses beyond the one before; the table has every amount.",
                "各情景较前一情景增加的损失；各项金额见表。",
            ),
            start=Bar(names[0], losses[0]),
            steps=[Bar(names[k], losses[k] - losses[k - 1]) for k in range(1, len(losses))],
            total=Bar(Text("Loss in the extreme", "极端情景损失"), losses[-1]),
            up=Text("loses more", "损失增加"),
            down=Text("loses less", "损失减少"),
            adverse=1,
            show=lambda v: number(v / 100),
            show_change=lambda v: number(v / 100, sign=True),
            language=language,
        )

    head = (
        Text("Scenario", "情景"), Text("Called", "被追保"), Text("Cured", "补足"),
        Text("Force-sold", "被强平"), Text("Sold", "强平金额"), Text("Short", "穿仓户数"),
        Text("Loss", "损失"), Text("Amplification", "放大倍数"),
    )  # fmt: skip
    rows: list[tuple[Text | str, ...]] = [
        (
            SCENARIO_TEXTS[r["scenario"]], number(r["called"]), number(r["cured"]),
            number(r["forced"]), number(r["sold_amt"], 2), number(r["shortfalls"]),
            number(r["shortfall_amt"], 2), _times(r["amplification"]),
        )
        for r in d["ladder"]
    ]  # fmt: skip
    caption = Text(f"Losses by scenario, {currency}", f"各情景损失（{currency}）")
    text = Text(
        "Amplification is the loss after forced sales moved prices over the loss before; it does not"
        " apply where nothing was lost or no volume is known.",
        "放大倍数为强平压价后与压价前损失之比；无损失或成交量未知时不适用。",
    )
    return Section(
        Text("Losses by scenario", "各情景损失"),
        (text,),
        (Table(caption, head, rows, _n(8)),),
        (draw,),
    )


def _sessions(d: Mapping[str, Any], currency: str) -> Section:
    by = d["by_session"]

    def draw(language: Language) -> str:
        return bars_by_group(
            "sessions", Text("Calls and forced sales by session", "逐日追保与强平"),
            Text("Accounts called, and accounts something was sold of.", "被追保账户数与被强平账户数。"),
            [same(str(r["session"])) for r in by],
            [
                (Text("calls", "追保"), ORANGE, "!", [float(r["calls"]) for r in by]),
                (Text("forced sales", "强平"), SLATE, "−", [float(r["forced"]) for r in by]),
            ],
            language,
        )  # fmt: skip

    head = (
        Text("Session", "交易日"), Text("Calls", "追保"), Text("Accounts force-sold", "强平账户数"),
        Text(f"Sold, {currency}", f"强平金额（{currency}）"),
    )  # fmt: skip
    rows: list[tuple[Text | str, ...]] = [
        (str(r["session"]), number(r["calls"]), number(r["forced"]), number(r["sold_amt"], 2))
        for r in by
    ]
    title = Text("Calls and forced sales by session", "逐日追保与强平")
    return Section(title, (), (Table(title, head, rows, _n(4)),), (draw,))


def _layer(d: Mapping[str, Any], currency: str) -> Section:
    p = d["procyclicality"]

    def draw(language: Language) -> str:
        return bars_by_group(
            "layer", Text("Calls with and without the layer", "有无逆周期层的追保数"),
            Text("Calls and force-sold accounts on the same path.", "同一路径上的追保与强平账户数。"),
            [MARGIN_TEXTS[r["margins"]] for r in p["margins"]],
            [
                (Text("calls", "追保"), ORANGE, "!", [float(r["calls"]) for r in p["margins"]]),
                (Text("force-sold", "强平"), SLATE, "−", [float(r["forced"]) for r in p["margins"]]),
            ],
            language,
        )  # fmt: skip

    head = (
        Text("Lines follow", "担保线依据"), Text("Calls", "追保"), Text("Force-sold", "强平"),
        Text(f"Sold, {currency}", f"强平金额（{currency}）"), Text("Loss, first round", "首轮损失"),
        Text("Loss", "损失"), Text("Amplification", "放大倍数"),
    )  # fmt: skip
    rows: list[tuple[Text | str, ...]] = [
        (
            MARGIN_TEXTS[r["margins"]], number(r["calls"]), number(r["forced"]),
            number(r["sold_amt"], 2), number(r["first_shortfall_amt"], 2),
            number(r["shortfall_amt"], 2), _times(r["amplification"]),
        )
        for r in p["margins"]
    ]  # fmt: skip
    if p["induced_share"] is None:
        said = Text(
            "Moving margins induce no call on this path, so the layer spares none: the share does not"
            " apply.",
            "本路径上保证金变动未诱发追保，占比不适用。",
        )
    else:
        verdict = p["induced_share"] <= p["most_share"]
        said = Text(
            f"Of the calls that undamped margins induce the layer leaves {percent(p['induced_share'])}"
            f" (at most {percent(p['most_share'])}: {'✓ held' if verdict else '✕ not held'}).",
            f"逆周期层保留无阻尼保证金所诱发追保的 {percent(p['induced_share'])}"
            f"（上限 {percent(p['most_share'])}：{'✓ 符合' if verdict else '✕ 不符合'}）。",
        )
    what = Text(
        "The pack's lines never follow margins; the other two ask what a lender would do whose lines"
        " counted collateral at its margins.",
        "规则包的担保线不随保证金变动；另两行考察按保证金折算担保物的做法。",
    )
    title = Text("With and without the anti-procyclical layer", "有无逆周期层的比较")
    return Section(title, (what, said), (Table(title, head, rows, _n(7)),), (draw,))


def _frontier(d: Mapping[str, Any]) -> Section:
    points = d["frontier"]

    def draw(language: Language) -> str:
        return bars_by_group(
            "frontier", Text("Smallest fall that empties the pool", "耗尽准备金的最小跌幅"),
            Text("By the share of a holding that a session takes, percent.", "按单日可卖出比例，单位百分比。"),
            [same(percent(r["depth_share"])) for r in points],
            [
                (
                    Text("fall, % (none: no fall up to 95 % does)", "跌幅（%；无柱：95% 内均不耗尽）"),
                    BLUE, "−",
                    [100.0 * (r["fall_ratio"] or 0.0) for r in points],
                )
            ],
            language,
        )  # fmt: skip

    rows: list[tuple[Text | str, ...]] = [
        (
            percent(r["depth_share"]),
            Text("none up to 95 %", "95% 内均不耗尽") if r["fall_ratio"] is None else percent(r["fall_ratio"]),
        )
        for r in points
    ]  # fmt: skip
    title = Text("Reverse stress: what empties the pool", "反向压力：何种跌幅耗尽准备金")
    head = (
        Text("Sold of a holding a session", "单日可卖出比例"),
        Text("Smallest fall", "最小跌幅"),
    )
    return Section(title, (), (Table(title, head, rows, _n(2)),), (draw,))


def _bearers(d: Mapping[str, Any], currency: str) -> Section:
    pool = d["pool"]
    rows: list[tuple[Text | str, ...]] = [
        (LAYER_TEXTS[b["layer"]], number(b["used_amt"], 2)) for b in d["draw_down"]
    ]
    words = {
        "expected_shortfall_999_amt": Text("Expected shortfall, 99.9 %", "预期损失缺口（99.9%）"),
        "cover_two_amt": Text("Two largest groups in the extreme", "极端情景两大关联组损失"),
        "floor_amt": Text("One per cent of what is lent", "融资余额百分之一"),
        "target_amt": Text("Target: the largest of them", "目标：三者取大"),
    }
    sizes: list[tuple[Text | str, ...]] = [(words[k], number(pool[k], 2)) for k in words]
    sizes += [
        (Text("Insolvent debt, VaR 95 %", "资不抵债负债 VaR 95%"), number(d["var_95_amt"], 2)),
        (Text("Forced sales, LaR 95 %", "强平金额 LaR 95%"), number(d["lar_95_amt"], 2)),
        (Text("Loss beyond the pool", "超出准备金的损失"), number(d["funding_gap_amt"], 2)),
    ]
    amount = Text(f"Amount, {currency}", f"金额（{currency}）")
    return Section(
        Text("Who bears the loss", "损失由谁承担"), (),
        (
            Table(Text("In this order", "按此顺序"), (Text("Layer", "层级"), amount), rows, _n(2)),
            Table(Text("The reserve pool and its draws", "准备金与模拟"), (Text("Figure", "项目"), amount), sizes, _n(2)),
        ),
    )  # fmt: skip


def render(d: Mapping[str, Any]) -> str:
    """The page of a document of ``stress``."""
    currency = str(d["currency"])
    final = d["final"]
    zero = d["zero_shock_equals_production"]
    lead = [
        Text(
            f"Scenario {d['scenario']}; {d['draws']:,} draws, seed {d['seed']}. Decisions of the night"
            f" {d['decisions_sha256'][:16]}….",
            f"情景 {d['scenario']}；模拟 {d['draws']:,} 次，种子 {d['seed']}。当晚决定哈希"
            f" {d['decisions_sha256'][:16]}…。",
        )
    ]
    if zero is not None:
        lead.append(
            Text("✓ With no shock the engine decides what the night decided, byte for byte.",
                 "✓ 无冲击时引擎与当晚决定逐字节一致。") if zero
            else Text("✕ With no shock the engine decides differently.", "✕ 无冲击时引擎决定不一致。")
        )  # fmt: skip
    cards = [
        (Text("Called", "被追保"), number(final["called"]), Text("clients", "户")),
        (Text("Force-sold", "被强平"), number(final["forced"]), Text("clients", "户")),
        (Text("Loss", "损失"), number(final["shortfall_amt"], 2), same(currency)),
    ]
    sections: list[Section] = [make(d, currency) for make in _MONEY_SECTIONS] + [
        _frontier(d),
        _bearers(d, currency),
    ]
    return render_document(
        Text(f"Stress of the book of {d['as_of']}", f"{d['as_of']} 账簿压力测试"),
        lead,
        cards,
        sections,
    )


_MONEY_SECTIONS: Final[tuple[Callable[[Mapping[str, Any], str], Section], ...]] = (
    _losses, _sessions, _layer,
)  # fmt: skip


def write_stress(out: Path, document: Mapping[str, Any]) -> str:
    """Write the page and the document; returns the page's path."""
    page = write_page(out / PAGE, render(document))
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_atomically(out / DOCUMENT, orjson.dumps(dict(document), option=options))
    return page
