"""From one night's loss allowance to another's, row by row, to the cent (IFRS 7.35H and 35I).

A client who is there on both nights is measured again with one kind of fact replaced at a time, in
the order of ``CAUSES``; the differences telescope, so a column always sums. The order is a
convention and is printed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from data_contracts.units import IntArray
from training.provisions.loss import expected_loss
from training.provisions.rules import STAGES, Rules
from training.provisions.staging import Facts

CAUSES: Final[dict[str, tuple[str, ...]]] = {
    "exposure": ("ead", "debt", "equity"),
    "lgd": ("lgd",),
    "pd": ("pd",),
    "life_and_rate": ("life_days", "rate_bps"),
}
ROWS: Final = (
    "opening", "new", "left", "transfers", *CAUSES, "staging", "rules", "overlay", "closing",
)  # fmt: skip


@dataclass(frozen=True)
class Night:
    """A night's facts, stages, losses and rules; ``overlay`` by stage, minor units."""

    facts: Facts
    stage: IntArray
    loss: IntArray
    rules: Rules
    overlay: tuple[int, int, int]


def _take(facts: Facts, at: IntArray) -> Facts:
    """Some of the clients, in the order given."""
    columns = {
        name: getattr(facts, name)[at]
        for name in Facts.__dataclass_fields__
        if name not in ("client_ids", "call_line", "unsecured_recovery")
    }
    return replace(facts, client_ids=tuple(facts.client_ids[k] for k in at), **columns)


def _by_stage(stage: IntArray, amounts: IntArray) -> IntArray:
    out = np.zeros(len(STAGES), dtype=np.int64)
    np.add.at(out, stage - 1, amounts)
    return out


def movement(before: Night, now: Night) -> dict[str, tuple[int, int, int]]:
    """Amounts by row of ``ROWS`` and stage, minor units; each column sums from opening to closing.

    ``transfers`` moves a client's opening amount to the closing stage and sums to zero; what is
    then measured anew stands in the closing stage. ``left`` is also where a written-off client goes.
    """
    place = {c: k for k, c in enumerate(before.facts.client_ids)}
    pairs = [(place[c], k) for k, c in enumerate(now.facts.client_ids) if c in place]
    old = np.array([p for p, _ in pairs], dtype=np.int64)
    own = np.array([k for _, k in pairs], dtype=np.int64)
    gone = np.setdiff1d(np.arange(len(before.facts)), old)
    fresh = np.setdiff1d(np.arange(len(now.facts)), own)
    rows: dict[str, IntArray] = {
        "opening": _by_stage(before.stage, before.loss) + np.array(before.overlay),
        "new": _by_stage(now.stage[fresh], now.loss[fresh]),
        "left": -_by_stage(before.stage[gone], before.loss[gone]),
    }
    was, here = before.stage[old], now.stage[own]
    rows["transfers"] = _by_stage(here, before.loss[old]) - _by_stage(was, before.loss[old])
    facts, ahead = _take(before.facts, old), _take(now.facts, own)
    last = before.loss[old]
    for cause, names in CAUSES.items():
        facts = replace(facts, **{name: getattr(ahead, name) for name in names})
        again = expected_loss(facts, was, before.rules)
        rows[cause] = _by_stage(here, again - last)
        last = again
    again = expected_loss(facts, here, before.rules)
    rows["staging"] = _by_stage(here, again - last)
    # the pack's recovery rate belongs to the rules
    rows["rules"] = _by_stage(here, now.loss[own] - again)
    rows["overlay"] = np.array(now.overlay) - np.array(before.overlay)
    rows["closing"] = _by_stage(now.stage, now.loss) + np.array(now.overlay)
    return {name: (int(rows[name][0]), int(rows[name][1]), int(rows[name][2])) for name in ROWS}
