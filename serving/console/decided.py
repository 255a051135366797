"""From a decision's body to what a page shows of it, cut to the reader's audience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data_contracts.case import Case
from data_contracts.feature_frame import FeatureFrame
from data_contracts.units import NULL, RATIO_ONE, IntArray, parse_decimal
from models.bundle import Bundle
from models.decide import decide_columns
from models.decide.body import bodies
from models.decide.facts import LINE_NAMES
from models.reasons import CATALOGUE, render
from models.reasons.catalogue import AUDIENCES
from serving.console.formats import share
from serving.console.pictures import diverging, waterfall
from serving.service.world import World

if TYPE_CHECKING:
    from serving.console.frame import Visit

PRINCIPAL: Final = 12
"""Contributions that are shown at once; the rest unfold."""
COMPLIANCE_FACTS: Final = frozenset({"pep", "sanctioned", "aml_level"})


def frame_of(world: World, client: str, row: IntArray) -> FeatureFrame:
    """One client's features as a frame of the night's bundle."""
    return FeatureFrame(
        str(world.bundle.features["feature_set"]),
        world.bundle.feature_set_sha256,
        world.bundle.names,
        (client,),
        world.market.session,
        np.array([row], dtype=np.int64),
    )


def night_decision(world: World, case: Case, row: IntArray) -> dict[str, Any]:
    """The body that the night decided, decided again by the production engine."""
    made = decide_columns(
        [case], frame_of(world, case.client_id, row), world.bundle, world.policy, world.market
    )
    return next(iter(bodies(made)))


def reasons(visit: Visit, found: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The reasons that the visitor may read, in the visitor's language and in the other."""
    names = visit.service.names
    shown = []
    for reason in found:
        texts = {
            tongue: render(reason, tongue, visit.reader, names[tongue]) for tongue in ("en", "zh")
        }
        text = texts[visit.language]
        if text is not None:
            other = "en" if visit.language == "zh" else "zh"
            shown.append(
                {
                    "code": reason["code"],
                    "audience": CATALOGUE[reason["code"]].audience,
                    "text": text,
                    "other": texts[other] or "",
                    "other_lang": "en" if other == "en" else "zh-Hans",
                }
            )
    return shown


def cap_rows(visit: Visit, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The limit's waterfall: from what law allows, through what each term removed."""
    t, show = visit.words, visit.show
    terms = body["cap_waterfall"]
    first = parse_decimal(terms[0]["limit_amt"] or body["max_debt_amt"], 2, "limit")
    removed = [parse_decimal(term["removed_amt"], 2, "removed") for term in terms[1:]]
    bars = waterfall(first, [-r for r in removed])
    rows = [
        {
            "label": t(f"cap.{terms[0]['term']}"),
            "meaning": t(f"cap_meaning.{terms[0]['term']}"),
            "text": show.minor(first),
            "kind": "start",
            "binds": body["binding"] == terms[0]["term"],
            "own": None,
            "bar": bars[0],
        }
    ]
    for term, gone, bar in zip(terms[1:], removed, bars[1:-1], strict=True):
        rows.append(
            {
                "label": t(f"cap.{term['term']}"),
                "meaning": t(f"cap_meaning.{term['term']}"),
                "text": show.minor(-gone, sign=True) if gone else show.number(0),
                "kind": "adverse" if gone else "still",
                "binds": body["binding"] == term["term"],
                "own": None if term["limit_amt"] is None else show.money(term["limit_amt"]),
                "bar": bar,
            }
        )
    total = {
        "label": t("cap.total"),
        "meaning": t("cap_meaning.total"),
        "text": show.money(body["max_debt_amt"]),
        "kind": "total",
        "binds": False,
        "own": None,
        "bar": bars[-1],
    }
    return [*rows, total]


def _rate_meaning(visit: Visit, body: Mapping[str, Any], name: str) -> str:
    """What a component is; of capital also how much and on whose worst paths."""
    t, held = visit.words, body.get("capital")
    meaning = t(f"rate_meaning.{name}")
    if name != "capital" or held is None:
        return meaning
    ratio = share(held["ratio"] / RATIO_ONE, places=3)
    said = t(f"capital_tail.{held['tail'] or 'none'}", ratio=ratio, paths=held["tail_paths"])
    return f"{meaning} {said}"


def rate_rows(visit: Visit, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rate's waterfall: components that sum to it."""
    t, show = visit.words, visit.show
    parts = [(c["component"], int(c["bps"])) for c in body["rate_waterfall"]]
    bars = waterfall(0, [bps for _, bps in parts])
    rows = [
        {
            "label": t(f"rate.{name}"),
            "meaning": _rate_meaning(visit, body, name),
            "text": show.bps(bps),
            "kind": "adverse" if bps > 0 else "favourable" if bps < 0 else "still",
            "binds": False,
            "own": None,
            "bar": bar,
        }
        for (name, bps), bar in zip(parts, bars[1:-1], strict=True)
    ]
    total = {
        "label": t("rate.total"),
        "meaning": t("rate_meaning.total"),
        "text": show.rate(body["rate_bps"]),
        "kind": "total",
        "binds": False,
        "own": None,
        "bar": bars[-1],
    }
    return [*rows, total]


def contributions(
    visit: Visit,
    bundle: Bundle,
    values: list[int],
    row: list[int | None],
    before: list[int | None] | None = None,
) -> list[dict[str, Any]]:
    """What each feature adds to the score, largest first; those of nothing are left out."""
    show, declared = visit.show, bundle.features["features"]
    order = sorted((k for k, v in enumerate(values) if v), key=lambda k: (-abs(values[k]), k))
    bars = diverging([values[k] for k in order])
    return [
        {
            "name": show.name(declared[k]),
            "value": show.feature(declared[k], row[k]),
            "before": None if before is None else show.feature(declared[k], before[k]),
            "text": show.score(values[k]),
            "kind": "adverse" if values[k] > 0 else "favourable",
            "word": visit.words("effect.adverse" if values[k] > 0 else "effect.favourable"),
            "bar": bar,
        }
        for k, bar in zip(order, bars, strict=True)
    ]


def lines(visit: Visit, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The maintenance lines and how far assets may fall until each."""
    return [
        {
            "name": visit.words(f"line.{name}"),
            "meaning": visit.words(f"line_meaning.{name}"),
            "ratio": visit.show.share(body["lines"][name]),
            "distance": body["distances"][name],
            "text": visit.show.share(body["distances"][name]),
            "passed": body["distances"][name] is not None and body["distances"][name] < 0,
        }
        for name in LINE_NAMES
    ]


def head(visit: Visit, body: Mapping[str, Any], settled: Mapping[str, Any]) -> dict[str, Any]:
    """The figures at the top of a decision."""
    show = visit.show
    return {
        "decision_id": body["decision_id"],
        "client_id": body["client_id"],
        "outcome": settled["outcome"],
        "stale": settled["stale"],
        "tier": body["tier"],
        "pd": show.prob(body["pd"]["value"]),
        "pd_low": show.prob(body["pd"]["low"]),
        "pd_high": show.prob(body["pd"]["high"]),
        "limit": show.money(settled["max_debt_amt"]),
        "leverage": show.times(body["max_leverage_milli"]),
        "rate": show.rate(body["rate_bps"]),
        "debt": show.money(body["debt_amt"]),
        "equity": show.money(body["equity_amt"]),
        "maintenance": show.share(body["maintenance_ratio"]),
        "lgd": show.share(body["lgd_ratio"]),
        "expected_loss": show.money(body["expected_loss_amt"]),
        "binding": visit.words(f"cap.{body['binding']}"),
        "as_of": body["as_of"],
        "effective_on": body["effective_on"],
        "engine_version": body["engine_version"],
        "hashes": body["hashes"],
    }


def status_rows(visit: Visit, case: Case) -> list[tuple[str, str]]:
    """Facts about the client, those of compliance only for readers of compliance."""
    t = visit.words
    status = case.status
    yes = {True: t("word.yes"), False: t("word.no")}
    unknown = t("word.unknown")
    level, months = status.suitability_level, status.experience_months
    assets = status.mean_assets_amt
    rows: list[tuple[str, str]] = [
        ("kyc_expires_on", str(status.kyc_expires_on or unknown)),
        ("suitability_level", f"C{level}" if level else unknown),
        ("automated_decision_refused", yes[status.automated_decision_refused]),
        ("margin_state", t(f"margin_state.{status.margin_state}")),
        ("experience_months", unknown if months is None else str(months)),
        ("mean_assets_amt", unknown if assets is None else visit.show.minor(assets)),
        ("day_trader", yes[status.day_trader]),
        ("professional", yes[status.professional]),
        ("sanctioned", yes[status.sanctioned]),
        ("pep", yes[status.pep]),
        ("aml_level", t(f"aml.{status.aml_level}")),
    ]
    above = AUDIENCES.index(visit.reader) < AUDIENCES.index("compliance")
    return [
        (t(f"status.{name}"), text)
        for name, text in rows
        if not (above and name in COMPLIANCE_FACTS)
    ]


def holdings(visit: Visit, world: World, case: Case) -> list[dict[str, Any]]:
    """Positions with price, value and weight, largest first."""
    rows = []
    for p in case.book.positions:
        k = world.market.index.get(p.symbol)
        price = None if k is None or world.market.price[k] == NULL else int(world.market.price[k])
        # prices are in 1e-4 of the currency, amounts in 1e-2
        value = None if price is None else p.quantity_shares * price // 100
        rows.append((value or 0, p, price, value))
    whole = sum(v for v, *_ in rows) or 1
    rows.sort(key=lambda r: (-r[0], r[1].symbol))
    return [
        {
            "symbol": p.symbol,
            "shares": visit.show.number(p.quantity_shares),
            "price": visit.words("word.no_price") if price is None else f"{price / 10_000:,.2f}",
            "value": visit.show.minor(value),
            "weight": visit.show.share(v * 1_000_000 // whole),
        }
        for v, p, price, value in rows
    ]


def contracts(visit: Visit, case: Case) -> list[dict[str, str]]:
    """Open loan contracts."""
    show, t = visit.show, visit.words
    return [
        {
            "id": c.contract_id,
            "symbol": c.symbol or t("word.none"),
            "kind": t.term("contract_kind", c.kind),
            "opened": c.opened_on.isoformat(),
            "due": c.due_on.isoformat() if c.due_on else t("word.open_end"),
            "outstanding": show.minor(c.outstanding_amt),
            "accrued": show.minor(c.accrued_amt),
            "rate": show.rate(c.rate_bps),
        }
        for c in case.book.contracts
    ]
