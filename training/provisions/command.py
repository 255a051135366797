"""``gearline provisions``."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from data_contracts.lake import lake_info, write_atomically
from data_contracts.units import format_decimal, parse_day
from features.asof import BookHistory
from features.panel import load_panel
from training.commands import pack_of
from training.provisions.back_test import Outcome, outcome_of, years_apart
from training.provisions.loss import all_in, expected_loss
from training.provisions.movement import Night, movement
from training.provisions.page import render
from training.provisions.read import DecidedNight, events_of, facts_of, night_on, nights_of
from training.provisions.rules import STAGES, Overlay, Rules, read_overlays, read_rules
from training.provisions.staging import REASONS, STAGE_OF_REASON, staged
from training.report.document import write_page

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
PAGE, DOCUMENT = "provisions.html", "provisions.json"


def _money(minor: int) -> str:
    return format_decimal(int(minor), 2)


def _share(part: int, whole: int) -> float | None:
    return None if whole == 0 else part / whole


class _Desk:
    """A lake's nights, loaded once, measured under one set of rules."""

    def __init__(
        self, lake: Path, policy: str | None, rules: Rules, overlays: tuple[Overlay, ...],
        stages: Stages,
    ) -> None:  # fmt: skip
        self.nights = nights_of(lake)
        self.rules, self.overlays = rules, overlays
        self.panel = load_panel(lake)
        self.pack = pack_of(lake_info(lake).currency, policy)
        buckets = lake_info(lake).buckets
        self.histories = []
        for bucket in range(buckets):
            self.histories.append(BookHistory.load(lake, self.panel, bucket))
            stages("load", bucket + 1, buckets)

    def measured(self, decided: DecidedNight) -> tuple[Night, Any]:
        """A night's facts, stages and losses, and the reason of each stage."""
        facts = facts_of(
            self.nights, decided, self.histories, self.pack.on(decided.effective_on), self.rules
        )
        found = staged(facts, self.rules)
        loss = expected_loss(facts, found.stage, self.rules)
        overlay = [0, 0, 0]
        for one in self.overlays:
            modelled = int(loss[found.stage == one.stage].sum())
            overlay[one.stage - 1] += one.on(decided.as_of, modelled)
        return Night(
            facts, found.stage, loss, self.rules, (overlay[0], overlay[1], overlay[2])
        ), found


def _stages(night: Night) -> list[dict[str, Any]]:
    found = []
    for k, stage in enumerate(STAGES):
        here = night.stage == stage
        modelled, ead = int(night.loss[here].sum()), int(night.facts.ead[here].sum())
        found.append(
            {
                "stage": stage,
                "clients": int(here.sum()),
                "debt_amt": _money(night.facts.debt[here].sum()),
                "ead_amt": _money(ead),
                "modelled_amt": _money(modelled),
                "overlay_amt": _money(night.overlay[k]),
                "provision_amt": _money(modelled + night.overlay[k]),
                "coverage_share": _share(modelled + night.overlay[k], ead),
            }
        )
    return found


def _sensitivity(night: Night) -> list[dict[str, Any]]:
    f, rules = night.facts, night.rules
    certain = [
        {
            "case": s.name, "weight_share": s.weight / 1e6,
            "modelled_amt": _money(all_in(f, night.stage, rules, s)),
        }
        for s in rules.scenarios
    ]  # fmt: skip
    for name, low in (("all_stage_1", 1), ("all_stage_2", 2)):
        moved = np.where(night.stage == 3, 3, low)
        amount = int(expected_loss(f, moved, rules).sum())
        certain.append({"case": name, "weight_share": None, "modelled_amt": _money(amount)})
    return certain


def _back_test(found: list[Outcome]) -> dict[str, Any]:
    expected, realised = sum(o.one_year_amt for o in found), sum(o.realised_amt for o in found)
    clients = [sum(o.clients[k] for o in found) for k in range(len(STAGES))]
    short = [sum(o.short[k] for o in found) for k in range(len(STAGES))]
    return {
        "nights": [
            {
                "as_of": o.as_of.isoformat(),
                "provision_amt": _money(o.provision_amt),
                "one_year_amt": _money(o.one_year_amt),
                "realised_amt": _money(o.realised_amt),
                "expected_defaults": round(o.expected_defaults, 3),
                "defaults": o.defaults,
            }
            for o in found
        ],
        "one_year_amt": _money(expected),
        "realised_amt": _money(realised),
        "expected_defaults": round(sum(o.expected_defaults for o in found), 3),
        "defaults": sum(o.defaults for o in found),
        "expected_over_realised": _share(expected, realised),
        "stages": [
            {
                "stage": s, "client_nights": clients[k], "short": short[k],
                "short_share": _share(short[k], clients[k]),
            }
            for k, s in enumerate(STAGES)
        ],
        "why_null": "" if found else "no night has a year of the lake's market after it",
    }  # fmt: skip


def provisions_document(arguments: argparse.Namespace, stages: Stages) -> dict[str, Any]:
    """Everything that the command prints and the page shows."""
    rules, overlays = read_rules(arguments.rules), read_overlays(arguments.overlays)
    desk = _Desk(arguments.lake, arguments.policy, rules, overlays, stages)
    day = parse_day(arguments.as_of, "--as-of") if arguments.as_of else None
    decided = night_on(desk.nights, day, arguments.run_id, "--as-of")
    now, found = desk.measured(decided)
    earlier = [n for n in desk.nights if n.as_of < decided.as_of]
    against = None
    if arguments.against is not None:
        against = night_on(
            earlier or desk.nights, parse_day(arguments.against, "--against"), None, "--against"
        )
    elif earlier:
        against = earlier[-1]
    rows = None
    if against is not None:
        before, _ = desk.measured(against)
        rows = movement(before, now)
    last = desk.panel.sessions[-1].astype("datetime64[D]").item()
    events = [events_of(arguments.lake, kind) for kind in ("shortfall", "default")]
    by_day: dict[dt.date, DecidedNight] = {n.as_of: n for n in desk.nights}
    outcomes = []
    for k, one in enumerate(chosen := years_apart(list(by_day), last)):
        outcomes.append(outcome_of(one, desk.measured(by_day[one])[0], *events))
        stages("back-test", k + 1, len(chosen))
    total = int(now.loss.sum()) + sum(now.overlay)
    return {
        "as_of": decided.as_of.isoformat(),
        "run_id": decided.run_id,
        "decisions_sha256": decided.decisions_sha256,
        "policy": desk.pack.name,
        "policy_sha256": desk.pack.sha256,
        "rules": rules.name,
        "rules_sha256": rules.sha256,
        "currency": desk.pack.currency,
        "clients": len(now.facts),
        "provision_amt": _money(total),
        "coverage_share": _share(total, int(now.facts.ead.sum())),
        "stages": _stages(now),
        "reasons": [
            {
                "reason": name, "stage": STAGE_OF_REASON[k],
                "clients": int((found.reason == k).sum()),
                "modelled_amt": _money(now.loss[found.reason == k].sum()),
            }
            for k, name in enumerate(REASONS)
        ],
        "sensitivity": _sensitivity(now),
        "overlays": [
            {
                "name": o.name, "reason": o.reason, "author": o.author, "approver": o.approver,
                "stage": o.stage, "from": o.since.isoformat(), "until": o.until.isoformat(),
                "amount_amt": _money(o.on(decided.as_of, int(now.loss[now.stage == o.stage].sum()))),
            }
            for o in overlays
        ],
        "movement": None if rows is None or against is None else {
            "against": against.run_id,
            "against_as_of": against.as_of.isoformat(),
            "rows": [
                {
                    "row": name, "stage_1_amt": _money(a), "stage_2_amt": _money(b),
                    "stage_3_amt": _money(c), "total_amt": _money(a + b + c),
                }
                for name, (a, b, c) in rows.items()
            ],
        },
        "back_test": _back_test(outcomes),
    }  # fmt: skip


def run_provisions(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``provisions``."""
    document = provisions_document(arguments, stages)
    page = None
    if arguments.out is not None:
        page = write_page(arguments.out / PAGE, render(document))
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        write_atomically(arguments.out / DOCUMENT, orjson.dumps(document, option=options))
    lines = [
        f"{document['clients']:,} clients on {document['as_of']}: {document['provision_amt']}"
        f" {document['currency']} provided ({document['rules']})"
    ]
    for s in document["stages"]:
        lines.append(
            f"  stage {s['stage']}: {s['clients']:>8,} clients, exposure {s['ead_amt']:>18},"
            f" provision {s['provision_amt']:>16}"
        )
    if document["movement"] is not None:
        lines.append(f"since {document['movement']['against_as_of']}:")
        lines += [f"  {r['row']:<14}{r['total_amt']:>18}" for r in document["movement"]["rows"]]
    tested = document["back_test"]
    if tested["nights"]:
        lines.append(
            f"{len(tested['nights'])} years: {tested['one_year_amt']} expected,"
            f" {tested['realised_amt']} lost; {tested['expected_defaults']:.0f} defaults expected,"
            f" {tested['defaults']} came"
        )
    if page is not None:
        lines.append(f"open {page}")
    return 0, {**document, "page": page}, "\n".join(lines)
