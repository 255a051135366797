"""The morning report as one self-contained page in two languages."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from models.reasons.terms import CAP_TERM_TEXTS
from serving.console.texts import WORDS
from serving.nightly.kpis.page import WHY_ZH, kpi

TEMPLATE: Final = "morning.html.j2"
VERDICTS: Final = {
    "pass": ("The gate lets it pass.", "闸门放行。"),
    "hold": ("Held: two people must approve it.", "暂缓：须经两人批准。"),
    "block": ("Blocked: nobody can publish it.", "禁止：任何人不得发布。"),
}
STATUSES: Final = {
    "pass": ("✓ pass", "✓ 通过"),
    "hold": ("→ hold", "→ 暂缓"),
    "block": ("✕ block", "✕ 禁止"),
    "not_tested": ("– not tested", "– 未检验"),
}


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def amount(value: str) -> str:
    """A decimal string with thousands parted, whole units where there are no others."""
    whole, _, cents = value.partition(".")
    sign, digits = ("−", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(digits):,}" + ("" if cents in ("", "00") else f".{cents}")


def shown(value: str, rule: str) -> str:
    """A gate figure: ratios as percentages, an index and integers as they are."""
    if rule == "tier_psi_ratio":
        return f"{float(value):.3f}"
    if rule.endswith("_ratio"):
        percent = float(value) * 100
        return f"{percent:.3f} %" if 0 < percent < 0.1 else f"{percent:.1f} %"
    return f"{int(value):,}"


def reason_words(code: str) -> tuple[str, str]:
    """A reason in a few words, English and Chinese; none where only its code is known."""
    found = WORDS.get(f"rule.{code}", ("", ""))
    return found[0], found[1]


def _cards(r: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    def of(name: str) -> str:
        figure = next(k for k in r["kpis"] if k["kpi"] == name)
        return "–" if figure["value"] is None else kpi(figure)

    people = ("", "")
    if r["clients_new"] is not None:
        people = (
            f"{r['clients_new']:,} new, {r['clients_left']:,} left",
            f"新增 {r['clients_new']:,}，离开 {r['clients_left']:,}",
        )
    limits = ("", "")
    if r["limits_before_amt"] is not None:
        before, now = float(r["limits_before_amt"]), float(r["limits_amt"])
        if before > 0:
            moved = f"{(now / before - 1) * 100:+.2f} %"
            limits = (f"{moved} against the published night", f"较上次发布 {moved}")
    return [
        ("Clients", "客户数", f"{r['clients']:,}", *people),
        ("Sum of limits", "额度总和", f"{amount(r['limits_amt'])} {r['currency']}", *limits),
        ("Called since then", "其间追保", of("call_rate"), "of clients with debt", "占有负债客户"),
        ("Cases opened", "新增个案", f"{r['cases']['opened']:,}",
         f"{r['cases']['referred']:,} referred in all", f"转人工共 {r['cases']['referred']:,} 户"),
    ]  # fmt: skip


def render_page(report: Mapping[str, Any]) -> str:
    """The page of a document of ``build_report``."""
    script = _asset("switch.js")
    environment = Environment(
        loader=DictLoader({TEMPLATE: _asset(TEMPLATE)}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rules = report["gate"]["rules"]
    severity = {"pass": 0, "hold": 1, "block": 2}
    return environment.get_template(TEMPLATE).render(
        r=report,
        against=sorted(
            (x for x in rules if x["counts_as"] != "pass"), key=lambda x: -severity[x["counts_as"]]
        ),
        rule_texts={x["rule"]: x for x in rules},
        bound=sorted(report["bound"].items(), key=lambda b: -b[1]),
        cards=_cards(report),
        terms=CAP_TERM_TEXTS,
        verdicts=VERDICTS,
        statuses=STATUSES,
        reason=reason_words,
        amount=amount,
        shown=shown,
        kpi=kpi,
        why_zh=WHY_ZH,
        style=Markup(_asset("style.css")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
