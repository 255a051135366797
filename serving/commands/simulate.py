"""``simulate CASE.json``: what if the client pays in, sells, asks otherwise, or prices move."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from data_contracts.case import Request
from data_contracts.decision import Decision
from data_contracts.errors import InputError
from data_contracts.units import parse_decimal
from models.decide import decide
from models.maintenance.counterfactuals import counterfactuals
from models.maintenance.state import account, rooms
from models.maintenance.what_if import AskLess, Deposit, Lever, PriceMove, Repay, Sell, what_if
from serving.commands.case_file import Inputs, read_inputs_of_case
from serving.commands.places import Answer, Stages

ALL: Final = "all"
TOLD: Final = ("outcome", "tier", "max_debt_amt", "binding", "rate_bps")


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, _, value = text.rpartition(":")
    if not name or not value:
        raise InputError(f"{option} is {text!r}; write it like {example}")
    return name, value


def levers(arguments: argparse.Namespace) -> list[Lever]:
    """The levers of the command line, price moves first, in the order written."""
    found: list[Lever] = []
    for text in arguments.price:
        symbol, ratio = _pair(text, "--price", "all:-0.10")
        move = parse_decimal(ratio, 6, "--price")
        found.append(PriceMove(move, None if symbol == ALL else symbol))
    if arguments.deposit is not None:
        found.append(Deposit(parse_decimal(arguments.deposit, 2, "--deposit")))
    for text in arguments.sell:
        symbol, shares = _pair(text, "--sell", "AAPL:100")
        found.append(Sell(symbol, parse_decimal(shares, 0, "--sell")))
    if arguments.repay is not None:
        found.append(Repay(parse_decimal(arguments.repay, 2, "--repay")))
    if arguments.ask is not None:
        found.append(AskLess(parse_decimal(arguments.ask, 2, "--ask")))
    return found


def _told(i: Inputs, decision: Decision) -> dict[str, Any]:
    stands = account(i.case, i.market, i.policy).as_dict()
    told = {k: decision.body[k] for k in TOLD}
    return {**told, "limits": rooms(decision.body), "account": stands}


def run_simulate(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``simulate CASE.json``."""
    path: Path = arguments.case
    now = read_inputs_of_case(path)
    changed, market = what_if(now.case, now.market, levers(arguments))
    if arguments.ask is not None:
        asked = changed.request
        amount = asked.requested_debt_amt
        changed = replace(changed, request=Request("simulation", asked.key, amount, asked.symbol))
    after = now.changed(changed, market)
    first = decide(now.case, now.features, now.bundle, now.policy, now.market)
    second = decide(after.case, after.features, after.bundle, after.policy, after.market)
    ways = counterfactuals(after.case, after.features, after.bundle, after.policy, after.market)
    document = {
        "client_id": now.case.client_id,
        "now": _told(now, first),
        "after": _told(after, second),
        **ways.as_dict(),
    }
    lines = []
    for name in ("now", "after"):
        d: dict[str, Any] = document[name]
        a = d["account"]
        ratio = a["maintenance_ratio"]
        shown = "no debt" if ratio is None else f"maintenance {ratio / 1e6:.4f}"
        if a["margin_level_ratio"] is not None:
            shown += (
                f", equity {a['margin_level_ratio'] / 1e4:.1f} % of the margin of its contracts"
            )
        lines.append(
            f"{name:<6} {d['outcome']}, most debt {d['max_debt_amt']}, bound by {d['binding']};"
            f" {shown}, {a['level']}"
        )
    for way in document["ways"]:
        what = way["amount_amt"] or f"{way['quantity_shares']} {way['symbol']}"
        lines.append(f"  {way['lever']} {what}: approved, most debt {way['max_debt_amt']}")
    if document["nothing"]:
        names = ", ".join(document["nothing"])
        lines.append(f"  nothing the client can do: {names}")
    return 0, document, "\n".join(lines)
