"""The key figures as one self-contained page in two languages: value, formula, n, source, or why not."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

TEMPLATE: Final = "kpis.html.j2"
WHY_ZH: Final = {
    "the lake has no margin_events": "数据湖无 margin_events 表",
    "nobody owes anything": "无人负债",
    "no deadline fell": "期间无追保到期",
    "no limits": "无额度",
    "the lake lacks margin_events, trades or bars": "数据湖缺 margin_events、trades 或 bars 表",
    "nothing was force-sold since the published night": "自上次发布以来无强平成交",
    "give the pool with --pool and a stress document with --stress": "请用 --pool 与 --stress 提供准备金与压力测试文件",
    "the stress lost nothing in its worst thousandth: there is nothing to cover": "压力测试尾部千分之一无损失，无需覆盖",
    "one night has no cycle": "仅一个批次，无周期可言",
    "nobody holds anything": "无人持仓",
    "nobody was referred or declined": "无人转人工或被拒绝",
    "no clients": "无客户",
    "the lake has no reviews; `gearline review export` writes them": "数据湖无 reviews 表；可用 `gearline review export` 导出",
    "no override is 90 days old": "尚无满 90 日的人工调整",
}


def _asset(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")


def kpi(figure: Mapping[str, Any]) -> str:
    """A key figure with its unit."""
    value = float(figure["value"])
    if figure["unit"] == "ratio":
        return f"{value:.2%}"
    if figure["unit"] == "money":
        return f"{value:,.2f}"
    return f"{value:.2f} ×" if figure["unit"] == "x" else f"{value:,.1f} bps"


def render_kpis(document: Mapping[str, Any]) -> str:
    """The page of a document of ``night kpis``."""
    beside = "serving.nightly.morning_report"
    script = _asset(beside, "switch.js")
    environment = Environment(
        loader=DictLoader({TEMPLATE: _asset("serving.nightly.kpis", TEMPLATE)}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        r=document,
        kpi=kpi,
        why_zh=WHY_ZH,
        style=Markup(_asset(beside, "style.css")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
