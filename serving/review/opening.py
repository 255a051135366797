"""From decisions to cases: of a night's segments, read one at a time, and of the service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int
from data_contracts.units import NULL, IntArray, parse_decimal
from models.bundle import Bundle
from models.reasons.catalogue import AUDIENCES
from models.review import Looked, ReviewPolicy, find_triggers, is_blind
from models.review.find import Trigger
from serving.ledger.envelope import Request
from serving.ledger.group import Rows
from serving.nightly.segments import INPUTS_FILE, read_decisions
from serving.review import rows
from serving.review.case import ReviewCase, case_id_of, instant

_NEEDED: Final = (
    "decision_id", "client_id", "outcome", "tier", "pd_e9", "pd_low_e9", "pd_high_e9", "debt_amt",
    "max_debt_amt", "reasons", "as_of",
)  # fmt: skip
SYSTEM: Final = "gearline"
LEAST_PRIORITY: Final = 5


def make_case(
    looked: Looked,
    triggers: Sequence[Trigger],
    *,
    client_id: str,
    related_group_id: str | None,
    tier: str,
    as_of: str,
    source: str,
    run_id: str,
    bucket: int | None,
    row: int | None,
    now: dt.datetime,
    policy: ReviewPolicy,
) -> ReviewCase:
    """The case of a decision that some rules name."""
    case_id = case_id_of("decision", looked.decision_id, client_id)
    # whose true reason is for compliance alone is work for compliance alone
    above = any(t.audience == "compliance" for t in triggers)
    due = now + dt.timedelta(hours=min((t.sla_hours for t in triggers), default=0))
    return ReviewCase(
        case_id=case_id,
        kind="decision",
        decision_id=looked.decision_id,
        client_id=client_id,
        related_group_id=related_group_id,
        source=source,
        run_id=run_id,
        bucket=bucket,
        row=row,
        currency=looked.currency,
        outcome=looked.outcome,
        tier=tier,
        exposure_amt=max(looked.debt_amt, looked.max_debt_amt, looked.requested_amt or 0),
        max_debt_amt=looked.max_debt_amt,
        triggers=tuple(triggers),
        priority=triggers[0].priority if triggers else LEAST_PRIORITY,
        audience=AUDIENCES[2] if above else AUDIENCES[1],
        blind=is_blind(case_id, policy),
        opened_at=instant(now),
        due_at=instant(due),
        as_of=as_of,
    )


def _first_outside(
    values: IntArray, features: Sequence[Mapping[str, Any]]
) -> list[tuple[str, int, int] | None]:
    """Of each row, the first feature outside its declared bounds: name, value, bound."""
    found: list[tuple[str, int, int] | None] = [None] * len(values)
    for k in range(len(features) - 1, -1, -1):
        declared = features[k]
        if "low" not in declared:
            continue
        column, low, high = values[:, k], int(declared["low"]), int(declared["high"])
        for i in np.flatnonzero((column != NULL) & ((column < low) | (column > high))).tolist():
            value = int(column[i])
            found[i] = (str(declared["name"]), value, low if value < low else high)
    return found


def segment_cases(
    root: Path,
    segment: str,
    *,
    run_id: str,
    bucket: int,
    bundle: Bundle,
    currency: str,
    now: dt.datetime,
    policy: ReviewPolicy,
    published: Mapping[str, int] | None = None,
    asked: str | None = None,
) -> list[ReviewCase]:
    """The cases of one sealed segment, in row order; the same on every call.

    ``published`` is each client's limit of the night before, minor units. ``asked`` names a
    decision whose case alone is wanted, also where no rule names it.
    """
    d = read_decisions(root / segment, list(_NEEDED))
    inputs = pq.read_table((root / segment).parent / INPUTS_FILE, partitioning=None)
    if inputs.num_rows != d.num_rows:
        raise InputError(f"{segment}: inputs and decisions differ in length; restore them")
    if d.num_rows == 0:
        return []
    width = len(bundle.names)
    values = np.asarray(inputs["features"].combine_chunks().flatten()).reshape(-1, width)
    outside = _first_outside(values, bundle.features["features"])
    undefined = (values == NULL).sum(axis=1).tolist()
    debt, limit = (decimal_to_int(d[n]).tolist() for n in ("debt_amt", "max_debt_amt"))
    pd, low, high = (np.asarray(d[n]).tolist() for n in ("pd_e9", "pd_low_e9", "pd_high_e9"))
    edges = tuple(bundle.tier_edges.tolist())
    names, clients = d["decision_id"].to_pylist(), d["client_id"].to_pylist()
    outcomes, tiers = d["outcome"].to_pylist(), d["tier"].to_pylist()
    codes, days = d["reasons"].to_pylist(), d["as_of"].to_pylist()
    documents = inputs["case"]
    cases = []
    for i, name in enumerate(names):
        if asked is not None and name != asked:
            continue
        document = orjson.loads(documents[i].as_py())
        looked = Looked(
            name, currency, outcomes[i], pd[i], low[i], high[i], edges, debt[i], limit[i],
            None if published is None else published.get(clients[i]),
            None, tuple(codes[i]), undefined[i], width, outside[i],
        )  # fmt: skip
        triggers = find_triggers(looked, policy)
        if triggers or asked is not None:
            group = document["group"]
            made = make_case(
                looked, triggers, client_id=clients[i],
                related_group_id=None if group is None else group["group_id"],
                tier=tiers[i], as_of=days[i].isoformat(), source="night", run_id=run_id,
                bucket=bucket, row=i, now=now, policy=policy,
            )  # fmt: skip
            cases.append(made)
    return cases


def entry_case(
    entry: Mapping[str, Any],
    bundle: Bundle,
    now: dt.datetime,
    policy: ReviewPolicy,
    *,
    always: bool = False,
) -> ReviewCase | None:
    """The case of a decision of the service, from the body of its entry.

    None where no rule holds, unless ``always``: an appeal may be against any decision. The outcome
    and limit looked at are the settled ones: what was answered.
    """
    body, settled = entry["decision"], entry["settled"]
    outside = None
    for fact in entry["facts"]:
        if fact["condition"] == "out_of_domain":
            name, value = fact["args"]["feature"], int(fact["args"]["value"])
            features = bundle.features["features"]
            declared: Mapping[str, Any] = next((f for f in features if f["name"] == name), {})
            low, high = int(declared.get("low", value)), int(declared.get("high", value))
            outside = (str(name), value, low if value < low else high)
    previous = entry["published_amt"]
    requested = body["request"]["requested_debt_amt"]
    looked = Looked(
        decision_id=body["decision_id"],
        currency=body["currency"],
        outcome=settled["outcome"],
        pd=body["pd"]["value"],
        pd_low=body["pd"]["low"],
        pd_high=body["pd"]["high"],
        tier_edges=tuple(bundle.tier_edges.tolist()),
        debt_amt=parse_decimal(body["debt_amt"], 2, "debt_amt"),
        max_debt_amt=parse_decimal(settled["max_debt_amt"], 2, "max_debt_amt"),
        previous_amt=None if previous is None else parse_decimal(previous, 2, "published_amt"),
        requested_amt=None if requested is None else parse_decimal(requested, 2, "requested"),
        codes=tuple(r["code"] for r in settled["reasons"]),
        undefined=entry["features"].count(None),
        features=len(entry["features"]),
        outside=outside,
    )
    triggers = find_triggers(looked, policy)
    if not triggers and not always:
        return None
    group = entry["case"]["group"]
    return make_case(
        looked, triggers, client_id=body["client_id"],
        related_group_id=None if group is None else group["group_id"],
        tier=body["tier"], as_of=body["as_of"], source="service", run_id=str(entry["night"]),
        bucket=None, row=None, now=now, policy=policy,
    )  # fmt: skip


def open_with(case: ReviewCase, now: dt.datetime) -> Rows:
    """Open a case in the transaction that records its decision."""

    def make(position: int) -> tuple[Sequence[Request], Sequence[rows.Inserted]]:
        request, inserted = rows.opened(position, case, SYSTEM, instant(now))
        return [request], inserted

    return Rows(make)
