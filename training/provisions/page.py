"""The page of a provisions document: stages, movement, outlooks, overlays, what came after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from data_contracts.units import parse_decimal
from training.report.document import Section, Table, render_document
from training.report.formats import money, number, percent
from training.report.texts import Language, Text, same
from training.report.waterfall import Bar, waterfall_svg

REASON_TEXTS: Final = {
    "in_default": Text("In default", "已违约"),
    "insolvent": Text("Assets below debt", "资产低于负债"),
    "days_under_line_stage_3": Text("Too long under the call line", "低于追保线过久"),
    "called": Text("Below the call line, or a call is open", "低于追保线或有未了追保"),
    "days_under_line_stage_2": Text("More than 30 days under the call line", "低于追保线逾 30 日"),
    "tiers_down": Text("Two tiers down since the loan was made", "自放款以来下降两级"),
    "pd_increase": Text("PD has multiplied since the loan was made", "自放款以来违约概率显著上升"),
    "no_increase": Text("No significant increase of risk", "风险未显著增加"),
}
ROW_TEXTS: Final = {
    "opening": Text("Opening balance", "期初余额"),
    "new": Text("New clients", "新增客户"),
    "left": Text("Clients who left", "离开的客户"),
    "transfers": Text("Transfers between stages", "阶段间转移"),
    "exposure": Text("Exposure", "敞口变动"),
    "lgd": Text("Loss given default", "违约损失率变动"),
    "pd": Text("Probability of default", "违约概率变动"),
    "life_and_rate": Text("Life and rate", "期限与利率变动"),
    "staging": Text("Measured in the new stage", "按新阶段计量"),
    "rules": Text("Rules", "规则变动"),
    "overlay": Text("Overlay", "管理层叠加"),
    "closing": Text("Closing balance", "期末余额"),
}
CASE_TEXTS: Final = {
    "all_stage_1": Text("Everybody but stage 3 in stage 1", "除第三阶段外均按第一阶段"),
    "all_stage_2": Text("Everybody but stage 3 in stage 2", "除第三阶段外均按第二阶段"),
}
NOT_APPLICABLE: Final = Text("not applicable", "不适用")


def _n(columns: int, first: int = 1) -> frozenset[int]:
    return frozenset(range(first, columns))


def _stages(d: Mapping[str, Any]) -> Section:
    head = (
        Text("Stage", "阶段"), Text("Clients", "客户数"), Text("Debt", "融资余额"),
        Text("Exposure at default", "违约敞口"), Text("Modelled", "模型计提"),
        Text("Overlay", "叠加"), Text("Provision", "减值准备"), Text("Of exposure", "占敞口"),
    )  # fmt: skip
    rows: list[tuple[Text | str, ...]] = [
        (
            str(s["stage"]), number(s["clients"]), number(s["debt_amt"], 2),
            number(s["ead_amt"], 2), number(s["modelled_amt"], 2), number(s["overlay_amt"], 2),
            number(s["provision_amt"], 2),
            NOT_APPLICABLE if s["coverage_share"] is None else percent(s["coverage_share"]),
        )
        for s in d["stages"]
    ]  # fmt: skip
    why = Table(
        Text("Clients by the first reason for their stage", "按首要阶段划分理由统计客户"),
        (Text("Reason", "理由"), Text("Stage", "阶段"), Text("Clients", "客户数"), Text("Modelled", "模型计提")),
        [
            (REASON_TEXTS[r["reason"]], str(r["stage"]), number(r["clients"]), number(r["modelled_amt"], 2))
            for r in d["reasons"]
        ],
        _n(4),
    )  # fmt: skip
    text = Text(
        "Stage 1 holds a year's expected loss, stage 2 that of the whole life, stage 3 what is lost"
        " if the client defaults today. Amounts in " + str(d["currency"]) + ".",
        "第一阶段按未来 12 个月预期信用损失计提，第二阶段按整个存续期，第三阶段按立即违约的损失。金额单位："
        + str(d["currency"]) + "。",
    )  # fmt: skip
    caption = Text("Provision by stage", "按阶段列示的减值准备")
    return Section(
        Text("Stages", "阶段"), (text,), (Table(caption, head, rows, _n(len(head))), why)
    )


def _movement(d: Mapping[str, Any]) -> Section:
    title = Text("From one night to the next", "两晚之间的变动")
    moved = d["movement"]
    if moved is None:
        return Section(
            title,
            (
                Text(
                    "Not applicable: no night was decided before.", "不适用：此前没有已决定的批次。"
                ),
            ),
        )
    head = (
        Text("Row", "项目"), Text("Stage 1", "第一阶段"), Text("Stage 2", "第二阶段"),
        Text("Stage 3", "第三阶段"), Text("Total", "合计"),
    )  # fmt: skip
    keys = ("stage_1_amt", "stage_2_amt", "stage_3_amt", "total_amt")
    rows: list[tuple[Text | str, ...]] = [
        (ROW_TEXTS[r["row"]], *(number(r[k], 2) for k in keys)) for r in moved["rows"]
    ]
    minor = {r["row"]: parse_decimal(r["total_amt"], 2, "total_amt") for r in moved["rows"]}

    def draw(language: Language) -> str:
        def shown(value: int) -> str:
            return number(value / 100)

        return waterfall_svg(
            name="movement",
            title=Text("Movement of the provision", "减值准备变动"),
            description=Text(
                "From the opening to the closing balance; the table below has every amount.",
                "由期初余额至期末余额；各项金额见下表。",
            ),
            start=Bar(ROW_TEXTS["opening"], minor["opening"]),
            steps=[
                Bar(ROW_TEXTS[k], v) for k, v in minor.items() if k not in ("opening", "closing")
            ],
            total=Bar(ROW_TEXTS["closing"], minor["closing"]),
            up=Text("raises the provision", "增加准备"),
            down=Text("lowers it", "减少准备"),
            adverse=1,
            show=shown,
            show_change=lambda v: number(v / 100, sign=True),
            language=language,
        )

    text = Text(
        f"Against run {moved['against']}. One kind of fact is replaced at a time, in this order;"
        " every column sums to the cent.",
        f"对照批次 {moved['against']}。按所列顺序逐项替换，每一列合计至分相符。",
    )
    caption = Text("Movement of the provision", "减值准备变动表")
    return Section(title, (text,), (Table(caption, head, rows, _n(5)),), (draw,))


def _outlook(d: Mapping[str, Any]) -> Section:
    rows: list[tuple[Text | str, ...]] = [
        (
            CASE_TEXTS.get(s["case"], same(s["case"])),
            NOT_APPLICABLE if s["weight_share"] is None else percent(s["weight_share"]),
            number(s["modelled_amt"], 2),
        )
        for s in d["sensitivity"]
    ]
    table = Table(
        Text("The modelled loss if one outcome were certain", "假设单一情景必然发生时的模型损失"),
        (Text("Outcome", "情景"), Text("Weight", "权重"), Text("Modelled", "模型计提")),
        rows,
        _n(3),
    )
    return Section(Text("What may come", "前瞻性情景"), (), (table,))


def _overlays(d: Mapping[str, Any]) -> Section:
    title = Text("Overlays", "管理层叠加")
    if not d["overlays"]:
        return Section(title, (Text("Not applicable: none was given.", "不适用：未提供叠加。"),))
    head = (
        Text("Name", "名称"), Text("Reason", "理由"), Text("Author", "提出人"),
        Text("Approver", "批准人"), Text("Stage", "阶段"), Text("From", "自"),
        Text("Until", "至"), Text("Adds", "增加"),
    )  # fmt: skip
    keys = ("name", "reason", "author", "approver", "stage", "from", "until")
    rows: list[tuple[Text | str, ...]] = [
        (*(str(o[k]) for k in keys), number(o["amount_amt"], 2)) for o in d["overlays"]
    ]
    return Section(
        title,
        (),
        (Table(Text("Overlays and who answers", "叠加及责任人"), head, rows, frozenset({7})),),
    )


def _after(d: Mapping[str, Any]) -> Section:
    title = Text("What was lost after earlier nights", "以往批次之后的实际损失")
    tested = d["back_test"]
    if not tested["nights"]:
        return Section(
            title,
            (
                Text(
                    "Not applicable: no night has a whole year after it.",
                    "不适用：没有批次之后满一年。",
                ),
            ),
        )
    head = (
        Text("Night", "批次日"), Text("Provision", "减值准备"),
        Text("A year's expected loss", "一年预期损失"), Text("Lost within a year", "一年内实际损失"),
        Text("Defaults expected", "预期违约数"), Text("Defaults", "实际违约数"),
    )  # fmt: skip
    keys = ("provision_amt", "one_year_amt", "realised_amt")
    rows: list[tuple[Text | str, ...]] = [
        (
            n["as_of"],
            *(number(n[k], 2) for k in keys),
            number(n["expected_defaults"], 1),
            number(n["defaults"]),
        )
        for n in tested["nights"]
    ]
    rows.append(
        (
            Text("All years", "合计"), Text("–", "–"), number(tested["one_year_amt"], 2),
            number(tested["realised_amt"], 2), number(tested["expected_defaults"], 1),
            number(tested["defaults"]),
        )
    )  # fmt: skip
    by_stage = Table(
        Text("Clients with a shortfall within a year, by stage", "一年内发生缺口的客户，按阶段"),
        (Text("Stage", "阶段"), Text("Client-nights", "客户日"), Text("Short", "发生缺口"), Text("Share", "占比")),
        [
            (
                str(s["stage"]), number(s["client_nights"]), number(s["short"]),
                NOT_APPLICABLE if s["short_share"] is None else percent(s["short_share"]),
            )
            for s in tested["stages"]
        ],
        _n(4),
    )  # fmt: skip
    text = Text("Years that do not overlap; overlays left out.", "各年互不重叠；不含叠加。")
    caption = Text("Expected and realised loss", "预期损失与实际损失")
    return Section(title, (text,), (Table(caption, head, rows, _n(6)), by_stage))


def render(d: Mapping[str, Any]) -> str:
    """The page of a document of ``provisions``."""
    lead: Sequence[Text] = (
        Text(
            f"Run {d['run_id']}, policy {d['policy']}, {d['rules']}. Decisions {d['decisions_sha256'][:16]}…,"
            f" rules {d['rules_sha256'][:16]}….",
            f"批次 {d['run_id']}，规则包 {d['policy']}，{d['rules']}。决定哈希 {d['decisions_sha256'][:16]}…，"
            f"计提规则哈希 {d['rules_sha256'][:16]}…。",
        ),
    )
    cards = [
        (Text("Provision", "减值准备"), money(d["provision_amt"], d["currency"]), None),
        (Text("Of exposure", "占敞口"), percent(d["coverage_share"]), None),
        (Text("Clients", "客户数"), number(d["clients"]), None),
    ]
    title = Text(f"Provisions on {d['as_of']}", f"{d['as_of']} 减值准备")
    sections = (_stages(d), _movement(d), _outlook(d), _overlays(d), _after(d))
    return render_document(title, lead, cards, sections)
