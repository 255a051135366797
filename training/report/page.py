"""The summary page: figures and decisions in, one self-contained HTML file out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from data_contracts.lake import write_atomically
from data_contracts.units import MILLI_ONE, FloatArray
from training.report.charts import bars_svg, histogram_svg, tier_svg
from training.report.example import SHORT_HASH, cap_svg, example_view, rate_svg, score_svg
from training.report.formats import is_null, money, number, percent
from training.report.svg import clean
from training.report.texts import (
    CAP_TERM_TEXTS,
    RATE_COMPONENT_TEXTS,
    STAGE_TEXTS,
    TRAINING_TEXTS,
    Language,
    Text,
    same,
)

PAGE: Final = "summary.html"
TEMPLATE: Final = "summary.html.j2"
_LANGUAGES: Final[tuple[Language, Language]] = ("en", "zh")


def _asset(name: str) -> str:
    return (resources.files("training.report") / name).read_text(encoding="utf-8")


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    """A column of integers as floats, null as NaN."""
    return np.array([np.nan if v is None else float(v) for v in column.to_pylist()])


def _figure(summary: Mapping[str, Any], key: str, places: int = 3) -> str:
    return number(summary.get(key), places)


def _cards(summary: Mapping[str, Any]) -> list[tuple[Text, str, Text | None]]:
    """Key figures: what, the figure, and what to know about it."""
    outcomes = summary.get("outcomes") or {}
    total = sum(v or 0 for v in outcomes.values())
    apart = summary.get("split") == "out-of-time"
    horizon = number(summary.get("horizon_sessions"))
    low, high = _figure(summary, "somers_d_low"), _figure(summary, "somers_d_high")

    def share(key: str) -> str:
        count = outcomes.get(key)
        return percent(None if not total or count is None else count / total)

    return [
        (Text("Clients", "客户数"), number(summary.get("clients")), None),
        (
            Text("Decisions", "决定数"),
            number(summary.get("decisions")),
            Text("one per client and night", "每客户每日一笔"),
        ),
        (
            Text("Somers' D of the tiers", "信用等级的 Somers' D"),
            _figure(summary, "somers_d"),
            Text(
                f"95 % interval {low} to {high}; 0 is chance, 1 a perfect order;"
                f" defaults over {horizon} sessions",
                f"95% 区间 {low} 至 {high}；0 为随机，1 为完全排序；违约窗口 {horizon} 个交易日",
            ),
        ),
        (
            Text("AUC, out of time", "跨期 AUC")
            if apart
            else Text("AUC, other clients", "其他客户上的 AUC"),
            _figure(summary, "auc_default_60_out_of_time" if apart else "auc_default_60_by_client"),
            Text("default within 60 sessions; 0.5 is chance", "60 个交易日内违约；0.5 为随机"),
        ),
        (Text("Referred to a person", "转人工占比"), share("refer"), None),
        (Text("Declined", "拒绝占比"), share("decline"), None),
    ]


def _facts(summary: Mapping[str, Any]) -> list[tuple[Text, Text]]:
    sessions = summary.get("sessions") or {}
    pack, digest = summary.get("pack_title") or {}, summary.get("decisions_sha256")
    market = summary.get("market")
    return [
        (
            Text("Policy pack", "政策包"),
            Text(
                f"{pack.get('en', '–')} ({summary.get('policy') or '–'})",
                f"{pack.get('zh', '–')}（{summary.get('policy') or '–'}）",
            ),
        ),
        (Text("Market", "市场"), same("–" if market is None else str(market))),
        (
            Text("Sessions", "交易日"),
            Text(
                f"{sessions.get('first') or '–'} to {sessions.get('last') or '–'}",
                f"{sessions.get('first') or '–'} 至 {sessions.get('last') or '–'}",
            ),
        ),
        (Text("Currency", "币种"), same(str(summary.get("currency") or "–"))),
        (
            Text("Hash of all decisions", "全部决定的哈希"),
            same("–" if digest is None else str(digest)[:SHORT_HASH]),
        ),
    ]


def _tiers(summary: Mapping[str, Any]) -> list[list[str]]:
    currency = str(summary.get("currency") or "")
    return [
        [
            str(t["tier"]),
            number(t.get("decisions", t.get("clients"))),
            percent(t.get("predicted_pd")),
            percent(t.get("predicted_over_horizon")),
            percent(t.get("realised_rate")),
            number(t.get("labelled")),
            number(t.get("defaults")),
            money(None if is_null(t.get("mean_cap_amt")) else round(t["mean_cap_amt"]), currency),
            number(t.get("mean_cap"), 2),
            number(t.get("mean_rate_bps")),
            number(t.get("mean_expected_loss_capital_bps"), 1),
        ]
        for t in summary.get("tiers") or []
    ]


def _training(report: Mapping[str, Any]) -> list[tuple[Text, str]]:
    def shown(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "–" if value is None else str(value)
        if isinstance(value, int) or is_null(value):
            return number(value)
        return f"{value:.2g}" if 0 < abs(value) < 0.001 else number(value, 3)

    return [(text, shown(report[key])) for key, text in TRAINING_TEXTS.items() if key in report]


def _charts(summary: Mapping[str, Any], decisions: pa.Table) -> dict[str, list[tuple[str, Markup]]]:
    """The charts of the book, each once a language."""
    tier = decisions["tier"].cast(pa.string()).to_pylist()
    leverage = _numbers(decisions["max_leverage_milli"]) / MILLI_ONE
    rate = _numbers(decisions["rate_bps"])
    horizon = int(summary.get("horizon_sessions") or 0)
    made: dict[str, list[tuple[str, Markup]]] = {}
    for language in _LANGUAGES:
        charts = {
            "tiers": tier_svg(summary.get("tiers") or [], horizon, language),
            "leverage": histogram_svg(
                "leverage",
                Text("Limits as leverage", "以杠杆表示的额度"),
                Text(
                    "assets over equity at the most debt, ×", "最高负债下总资产与自有资金之比（倍）"
                ),
                leverage,
                tier,
                lambda v: number(v, 2),
                language,
            ),
            "rates": histogram_svg(
                "rates",
                Text("Rates", "利率"),
                Text("rate a year, bps", "年利率（基点）"),
                rate,
                tier,
                number,
                language,
            ),
            "binding": bars_svg(
                "binding",
                Text("What set each limit", "决定额度的因素"),
                Text("Decisions by the term that set the limit.", "按决定额度的因素统计决定数。"),
                summary.get("binding_constraints") or {},
                CAP_TERM_TEXTS,
                language,
            ),
        }
        for name, svg in charts.items():
            made.setdefault(name, []).append((language, Markup(svg)))
    return made


def _examples(example: Mapping[str, Any], names: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    def drawn(language: Language) -> dict[str, str]:
        return {
            "score": score_svg(example, names, language),
            "cap": cap_svg(example, language),
            "rate": rate_svg(example, language),
        }

    pages = {language: drawn(language) for language in _LANGUAGES}
    return {
        "inline": {k: [(lang, Markup(pages[lang][k])) for lang in _LANGUAGES] for k in pages["en"]},
        "files": drawn("both"),
    }


def write_report(
    out: Path,
    summary: Mapping[str, Any],
    decisions: pa.Table,
    example: Mapping[str, Any],
    feature_names: Mapping[str, tuple[str, str]],
) -> Path:
    """Write ``summary.html`` and the three waterfalls of the example as SVG files.

    Parameters
    ----------
    out : folder, made where absent
    summary : figures of the run; shares and probabilities are of 1, ``mean_cap_amt`` is in currency
        units, ``mean_cap`` in multiples of equity; undefined figures are None
    decisions : pooled decisions with ``tier``, ``max_leverage_milli`` and ``rate_bps``
    example : the canonical body of one decision
    feature_names : English and Chinese name of each feature, in feature-set order

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If a waterfall of the example does not sum, or its attributions have other features.
    """
    drawn = _examples(example, feature_names)
    script = _asset("switch.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=DictLoader({TEMPLATE: _asset(TEMPLATE)}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    binding = summary.get("binding_constraints") or {}
    leverage_unknown = decisions["max_leverage_milli"].null_count
    page = environment.get_template(TEMPLATE).render(
        headline=Text(str(summary["headline"]), str(summary["headline_zh"])),
        warnings=[Text(w["en"], w["zh"]) for w in summary.get("warnings") or []],
        cards=_cards(summary),
        facts=_facts(summary),
        tiers=_tiers(summary),
        horizon=number(summary.get("horizon_sessions")),
        split=summary.get("split"),
        leverage_unknown=number(leverage_unknown) if leverage_unknown else "",
        charts=_charts(summary, decisions),
        binding=[
            (CAP_TERM_TEXTS[k].name, CAP_TERM_TEXTS[k].meaning, number(binding.get(k)))
            for k in CAP_TERM_TEXTS
        ],
        rate_terms=list(RATE_COMPONENT_TEXTS.values()),
        waterfalls=drawn["inline"],
        example=example_view(example, feature_names, summary.get("out")),
        training=_training(summary.get("training") or {}),
        stages=[
            (STAGE_TEXTS.get(k, same(k)), number(v, 1))
            for k, v in (summary.get("seconds_by_stage") or {}).items()
        ],
        next_commands=[
            (c["command"], Text(c["en"], c["zh"])) for c in summary.get("next_commands") or []
        ],
        style=Markup(_asset("style.css")),
        script=Markup(script),
        script_digest=digest,
    )
    out.mkdir(parents=True, exist_ok=True)
    for name, svg in drawn["files"].items():
        write_atomically(out / f"example_{name}.svg", svg.encode())
    write_atomically(out / PAGE, clean(page).encode())
    return out / PAGE
