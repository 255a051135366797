"""``model promote | retire | rollback | status``: roles of models, by proposal."""

from __future__ import annotations

import argparse
import datetime as dt
import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from data_contracts.provenance import TrainingRecord
from data_contracts.signed_report import REPORT, SIGNATURE, read_signed
from data_contracts.units import parse_day
from models.bundle import Bundle
from models.governance import PROPOSAL_KIND, Proposal
from models.lifecycle import (
    CHAMPION,
    PURPOSES,
    RETIRED,
    Lineup,
    Placed,
    check_place,
    check_report,
    purpose_of,
)
from serving.commands.places import Answer, Stages, existing_ledger
from serving.ledger import Ledger, LedgerReader, Location
from serving.lineup import keep_bundle, kept_report, lineup_of, placements

DONE, FOUND = 0, 1
_LOOKED_AT: Final = 10_000


def actor_of(arguments: argparse.Namespace) -> str:
    """Who acts, for the record: who was named, else the user of this machine."""
    try:
        return str(arguments.actor or getpass.getuser())
    except (OSError, KeyError):
        return "somebody"


def _now() -> dt.datetime:
    # the one place where these verbs take the time from the clock
    return dt.datetime.now(dt.UTC)


def _today() -> dt.date:
    return _now().date()


def open_proposals(reader: LedgerReader) -> list[Proposal]:
    """The proposals about models that wait for approval, the newest first."""
    seen: dict[str, Proposal] = {}
    for entry in reader.latest(f"kind/{PROPOSAL_KIND}", _LOOKED_AT):
        if entry.body["kind"] == "model" and str(entry.body["proposal_id"]) not in seen:
            seen[str(entry.body["proposal_id"])] = Proposal.from_json(entry.body)
    return [p for p in seen.values() if p.state == "open"]


def propose(
    where: Location, direction: str, content: Mapping[str, Any], reason: str, author: str
) -> tuple[Proposal, bool]:
    """Open a proposal about a model, once; whether the same one was open already."""
    if not 1 <= len(reason) <= 1000:
        raise InputError(f"--reason has {len(reason)} characters; it must have 1 to 1000")
    with LedgerReader(where) as reader:
        waiting = open_proposals(reader)
        # the entries it was made on name it: after a switch the same content is another proposal
        last = max((e.position for e in placements(reader)), default=-1)
        gone = sum(
            e.body["state"] in ("rejected", "withdrawn")
            for e in reader.latest(f"kind/{PROPOSAL_KIND}", _LOOKED_AT)
            if e.body["kind"] == "model"
        )
    made = Proposal("", "model", direction, dict(content), reason, author)
    for known in waiting:
        if known.content_sha256 == made.content_sha256 and known.author == author:
            return known, True
    named = {"content": made.content_sha256, "author": author, "after": last, "gone": gone}
    number = sha256_hex(canonical_bytes(named))[:32]
    made = Proposal(number, "model", direction, dict(content), reason, author)
    body = {**made.to_json(), "act": "created", "actor": author, "because": None}
    with Ledger.open(where) as ledger:
        ledger.append(
            [{"kind": PROPOSAL_KIND, "body": body}], idempotency_keys=[f"proposal/{number}/1"]
        )
    return made, False


def _answer(proposal: Proposal, repeated: bool, more: str = "") -> Answer:
    content = proposal.content
    document = {
        "proposal_id": proposal.proposal_id,
        "state": proposal.state,
        "direction": proposal.direction,
        "quorum": proposal.quorum,
        "author": proposal.author,
        "content_sha256": proposal.content_sha256,
        "role": content["role"],
        "purpose": content["purpose"],
        "bundle_sha256": content["bundle_sha256"],
        "review_on": content["review_on"],
        "report_sha256": content["report_sha256"],
        "report_key_id": content["report_key_id"],
        "grade": content["grade"],
        "recipe_sha256": content["recipe_sha256"],
        "data_sha256": content["data_sha256"],
        "repeated": repeated,
    }
    people = "one person" if proposal.quorum == 1 else f"{proposal.quorum} people"
    text = (
        f"proposal {proposal.proposal_id}{' was open already' if repeated else ''}:"
        f" {content['bundle_sha256'][:16]} as {content['role']} of {content['purpose']},"
        f" reviewed by {content['review_on']}\n"
        f"{people} other than {proposal.author} must approve it: in the console, or"
        f" POST /v1/proposals/{proposal.proposal_id}/approvals"
    )
    return DONE, document, text + more


def run_promote(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model promote``."""
    lake: Path = arguments.lake
    where = existing_ledger(lake, arguments.ledger)
    role, review_on = arguments.role, parse_day(arguments.review_by, "--review-by")
    bundle = Bundle.read(arguments.bundle)
    bundle.check_monotone()
    record = TrainingRecord.read(arguments.bundle, bundle.sha256)
    report, seal = read_signed(arguments.report)
    if arguments.signed_by and seal["key_id"] not in arguments.signed_by:
        raise InputError(
            f"the report is signed by key {seal['key_id']}, --signed-by names"
            f" {', '.join(arguments.signed_by)}; ask the validator for a report under that key"
        )
    check_report(report, bundle.sha256, role, review_on, _today())
    purpose = purpose_of(str(bundle.features["feature_set"]))
    with LedgerReader(where) as reader:
        check_place(lineup_of(lake, reader, _now(), purpose), bundle.sha256, role)
    # before the proposal: what is approved is there to be used
    keep_bundle(lake, bundle)
    place = lake / kept_report(seal["report_sha256"])
    for name in (REPORT, SIGNATURE):
        write_atomically(place / name, (arguments.report / name).read_bytes())
    content = {
        "bundle_sha256": bundle.sha256,
        "review_on": review_on.isoformat(),
        "role": role,
        "purpose": purpose,
        "report_sha256": seal["report_sha256"],
        "report_key_id": seal["key_id"],
        "grade": int(report["grade"]),
        "recipe_sha256": record.recipe_sha256,
        "data_sha256": record.data_sha256,
    }
    reason = arguments.reason or f"{role} of {purpose}, validation grade {report['grade']}"
    proposal, repeated = propose(where, arguments.direction, content, reason, actor_of(arguments))
    return _answer(proposal, repeated)


def _find(lineup: Lineup, stated: str) -> Placed:
    found = [p for p in lineup.beside if p.bundle_sha256.startswith(stated)]
    if len(found) != 1:
        names = ", ".join(p.bundle_sha256[:16] for p in lineup.beside) or "none"
        raise InputError(
            f"{len(found)} models beside the champion have a hash that begins with {stated!r};"
            f" there are: {names}"
        )
    return found[0]


def run_retire(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model retire``: a challenger or shadow steps back."""
    where = existing_ledger(arguments.lake, arguments.ledger)
    with LedgerReader(where) as reader:
        lineup = lineup_of(arguments.lake, reader, _now(), arguments.purpose)
    placed = _find(lineup, arguments.bundle_sha256)
    content = {**placed.pins(), "role": RETIRED, "review_on": placed.review_on.isoformat()}
    reason = arguments.reason or f"{placed.role} of {placed.purpose} retires"
    proposal, repeated = propose(where, "neutral", content, reason, actor_of(arguments))
    return _answer(proposal, repeated)


def run_rollback(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model rollback``: a proposal to bring the former champion back."""
    where = existing_ledger(arguments.lake, arguments.ledger)
    with LedgerReader(where) as reader:
        lineup = lineup_of(arguments.lake, reader, _now(), arguments.purpose)
    if lineup.champion is None or not lineup.former:
        raise InputError(
            f"there is no former champion of {arguments.purpose} to return to; `gearline model"
            " status` shows who was approved"
        )
    former = lineup.former[0]
    if former.past_review(_today()):
        raise InputError(
            f"the former champion {former.bundle_sha256[:16]} was to be reviewed by"
            f" {former.review_on}; validate it again and promote it with the new report"
        )
    if former.report_sha256 is None:
        raise InputError(
            f"the former champion {former.bundle_sha256[:16]} was released without a validation"
            " report; validate it and promote it"
        )
    content = {
        **former.pins(),
        "role": CHAMPION,
        "review_on": former.review_on.isoformat(),
        "rollback_of": lineup.champion.bundle_sha256,
    }
    proposal, repeated = propose(
        where, arguments.direction, content, arguments.reason, actor_of(arguments)
    )
    return _answer(proposal, repeated)


def placed_json(placed: Placed, today: dt.date) -> dict[str, Any]:
    """A model in a role as the command line and the console show it."""
    return {
        "bundle_sha256": placed.bundle_sha256,
        "role": placed.role,
        "since": placed.since,
        "review_on": placed.review_on.isoformat(),
        "past_review": placed.past_review(today),
        "grade": placed.grade,
        "report_sha256": placed.report_sha256,
        "report_key_id": placed.report_key_id,
        "recipe_sha256": placed.recipe_sha256,
        "data_sha256": placed.data_sha256,
        "author": placed.author,
        "approvals": list(placed.approvals),
        "proposal_id": placed.proposal_id,
        "rollback_of": placed.rollback_of,
    }


def run_status(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model status``: exit code 1 where a review is past."""
    where = existing_ledger(arguments.lake, arguments.ledger)
    moment = _now() if arguments.at is None else _moment(arguments.at)
    today = moment.date()
    with LedgerReader(where) as reader:
        entries = placements(reader)
        waiting = open_proposals(reader)
        lineups = [(p, lineup_of(arguments.lake, reader, moment, p)) for p in PURPOSES.values()]
    purposes = []
    lines = []
    for purpose, lineup in lineups:
        champion = lineup.champion
        purposes.append(
            {
                "purpose": purpose,
                "champion": None if champion is None else placed_json(champion, today),
                "challengers": [placed_json(p, today) for p in lineup.challengers],
                "shadows": [placed_json(p, today) for p in lineup.shadows],
                "former": [placed_json(p, today) for p in lineup.former],
            }
        )
        mine = [*([] if champion is None else [champion]), *lineup.beside]
        lines.append(f"{purpose}:" + ("" if mine else " no model has a role"))
        lines += [
            f"  {p.role:<10} {p.bundle_sha256[:16]}  review by {p.review_on}"
            f"{' (PAST)' if p.past_review(today) else ''}  grade {p.grade or 'unknown'}"
            f"  by {p.author or 'somebody'}; approved by {', '.join(p.approvals) or 'unknown'}"
            for p in mine
        ]
    shown = [
        {
            "proposal_id": p.proposal_id,
            "role": p.content.get("role"),
            "bundle_sha256": p.content["bundle_sha256"],
            "review_on": p.content["review_on"],
            "author": p.author,
            "approvals": list(p.approvals),
            "quorum": p.quorum,
        }
        for p in waiting
    ]
    lines += [
        f"waiting: {p.proposal_id} {p.content.get('role') or 'review date'}"
        f" {p.content['bundle_sha256'][:16]}, {len(p.approvals)} of {p.quorum} approvals"
        for p in waiting
    ]
    late = any(
        p.past_review(today)
        for _, found in lineups
        for p in (*found.beside, *([] if found.champion is None else [found.champion]))
    )
    document = {
        "at": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "entries": len(entries),
        "purposes": purposes,
        "open": shown,
    }
    return (FOUND if late else DONE), document, "\n".join(lines)


def _moment(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--at is {text!r}; write it as 2026-03-02T09:00:00Z") from None
    if found.tzinfo is None:
        raise InputError(f"--at is {text!r}, without a zone; write it as 2026-03-02T09:00:00Z")
    return found.astimezone(dt.UTC)
