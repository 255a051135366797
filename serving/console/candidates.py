"""A proposed policy pack: one house rule changed, and what it would do."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.decision import OUTCOMES
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.units import IntArray, parse_decimal
from models.decide import decide_columns
from models.policy.document import shipped_documents
from models.policy.pack import PLACES, Pack, rule_bodies
from serving.console.night_figures import LIMIT_EDGES_E6
from serving.console.pictures import Bin, binned
from serving.service.world import World

SAMPLE: Final = 400
SEED: Final = 9
LONGEST_REFERENCE: Final = 200


def changed_pack(
    name: str,
    rule: str,
    values: str,
    since: dt.date,
    reference: str,
    documents: tuple[dict[str, Any], dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The documents of a pack with one more dated value of a house rule.

    ``values`` are written as in the pack: decimals, one a tier where the rule has one a tier.
    ``documents`` are those of the pack in force, the shipped one unless given.

    Raises
    ------
    InputError
        If the rule is none of the house's, or a value is not of its unit.
    """
    document, house = documents or shipped_documents(name)
    document = dict(document)
    bodies = rule_bodies(document, house)
    if rule not in bodies or bodies[rule]["level"] != "house":
        raise InputError(f"{rule!r} is no rule of the house; law is changed by those who make it")
    if not 1 <= len(reference) <= LONGEST_REFERENCE:
        raise InputError(f"say in 1 to {LONGEST_REFERENCE} characters where the change is decided")
    body = dict(bodies[rule])
    given = [v.strip() for v in values.replace("，", ",").split(",") if v.strip()]
    last = list(body["values"].values())[-1]
    expected = len(last["values"]) if "values" in last else 1
    if len(given) != expected:
        raise InputError(f"{rule} has {expected} values, not {len(given)}")
    unit = body["unit"]
    parsed: list[Any] = []
    for v in given:
        parse_decimal(v, PLACES.get(unit, 0), rule)
        parsed.append(v if unit in PLACES else int(v))
    item = {"values": parsed} if expected > 1 else {"value": parsed[0]}
    history = {k: v for k, v in body["values"].items() if k != since}
    history[since] = {**item, "reference": reference, "verified": True}
    body["values"] = dict(sorted(history.items(), key=lambda i: str(i[0])))
    document["parameters"] = {**document["parameters"], rule: body}
    # the profile said it from the first date on; now the pack says more, and one of them says it
    profile = {k: v for k, v in house["from_first_date"].items() if k != rule}
    return document, {**house, "from_first_date": profile}


@dataclass(frozen=True)
class Effect:
    """What a candidate would do to a sample of the book, decided by the production engine.

    Attributes
    ----------
    outcomes : by outcome, clients before and after
    limit_before, limit_after : sums over the sample, minor units
    lowered, raised : clients whose limit moves
    changes : clients by relative change of the limit, 1e-6
    rate_before, rate_after : mean rate over clients, bps
    """

    clients: int
    of: int
    outcomes: dict[str, tuple[int, int]]
    limit_before: int
    limit_after: int
    lowered: int
    raised: int
    changes: list[Bin]
    rate_before: int
    rate_after: int
    dearer: int
    cheaper: int


def effect(world: World, candidate: Pack, present: Pack, day: dt.date) -> Effect:
    """Decide on a sample twice: under the pack in force and under the candidate, on one day.

    The sample is drawn by a fixed seed. Market, features and scorer are the night's; the market's
    book-level terms are not found anew under the candidate.
    """
    everyone = world.cases.clients(2**62)
    rng = np.random.default_rng(SEED)
    size = min(SAMPLE, len(everyone))
    chosen = [everyone[k] for k in sorted(rng.choice(len(everyone), size, replace=False).tolist())]
    cases, rows = [], []
    for name in chosen:
        found = world.cases.read(name)
        assert found is not None
        cases.append(found.case)
        rows.append(world.features.read(name, world.features.good_until))
    frame = FeatureFrame(
        str(world.bundle.features["feature_set"]),
        world.bundle.feature_set_sha256,
        world.bundle.names,
        tuple(chosen),
        world.market.session,
        np.stack(rows),
    )
    was = decide_columns(cases, frame, world.bundle, present.on(day), world.market)
    then = decide_columns(cases, frame, world.bundle, candidate.on(day), world.market)
    old: IntArray = was.cap.cap
    new: IntArray = then.cap.cap
    some = old > 0
    return Effect(
        size,
        len(everyone),
        {
            name: (int((was.outcome == k).sum()), int((then.outcome == k).sum()))
            for k, name in enumerate(OUTCOMES)
        },
        int(old.sum()),
        int(new.sum()),
        int((new < old).sum()),
        int((new > old).sum()),
        binned((new - old)[some] * 1_000_000 // old[some], LIMIT_EDGES_E6),
        int(was.rate.rate_bps.sum()) // size,
        int(then.rate.rate_bps.sum()) // size,
        int((then.rate.rate_bps > was.rate.rate_bps).sum()),
        int((then.rate.rate_bps < was.rate.rate_bps).sum()),
    )
