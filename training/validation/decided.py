"""What a lake says was decided, by whom it was changed, and on whom: for the report's last sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.lake import decimal_to_int, read_table
from data_contracts.units import MINOR_PER_UNIT, NULL, PROB_ONE, FloatArray, IntArray
from features.panel import PricePanel
from models.bundle import Bundle
from training.sample import Sample
from training.summary import TIER_ORDER, pool
from training.validation.material import Overrides, Prices

GRADES: Final = 7
PROTECTED: Final = ("age_band", "sex", "region")


def stored_decisions(lake: Path) -> Any:
    """Every stored decision of a lake as one table, None without any."""
    paths = sorted(lake.glob("runs/*/bucket=*/decisions.parquet"))
    return pool(paths) if paths else None


def protected_groups(lake: Path) -> dict[str, dict[str, str]]:
    """Group of each client by protected attribute, as last known; for the fairness audit only."""
    if not (lake / "client_protected").is_dir():
        return {}
    table = read_table(
        lake, "client_protected", columns=["client_id", "known_at", *PROTECTED]
    ).sort_by("known_at")
    clients = table["client_id"].to_pylist()
    return {
        name: {
            c: ("unknown" if v is None else str(v))
            for c, v in zip(clients, table[name].cast("string").to_pylist(), strict=True)
        }
        for name in PROTECTED
    }


def prices_of(decisions: Any, bundle: Bundle, currency: str) -> Prices:
    """Caps, rates and exposures of the decisions that are not in default."""
    tier = np.array(
        [TIER_ORDER.index(t) + 1 for t in decisions["tier"].to_pylist()], dtype=np.int64
    )
    rated = tier <= GRADES
    d = decisions.filter(rated)

    def money(name: str) -> FloatArray:
        return decimal_to_int(d[name]) / MINOR_PER_UNIT

    leverage = np.asarray(d["max_leverage_milli"].fill_null(NULL)).astype(np.int64)
    return Prices(
        np.asarray(d["pd_e9"]) / PROB_ONE,
        tier[rated],
        np.asarray(d["rate_bps"]).astype(np.float64),
        np.where(leverage == NULL, np.nan, leverage / 1000),
        money("max_debt_amt"), money("ead_amt"), money("expected_loss_amt"),
        np.array(d["outcome"].to_pylist(), dtype=object) == "approve",
        currency,
        bundle.tier_edges / PROB_ONE,
        np.unique(np.array(d["as_of"].to_pylist(), dtype="datetime64[D]"), return_inverse=True)[1],
    )  # fmt: skip


def overrides_of(
    lake: Path, decisions: Any, outcome: dict[tuple[str, Any], int], groups: dict[str, str]
) -> Overrides | None:
    """Acts of ``reviews`` on stored decisions; ``looser`` is in the client's favour.

    Parameters
    ----------
    outcome : 1 or 0 by client and session, where it is known
    groups : the client's group that favour must not depend on
    """
    if decisions is None or not (lake / "reviews").is_dir():
        return None
    acts = read_table(lake, "reviews").to_pylist()
    known = {
        i: (c, day, pd / PROB_ONE)
        for i, c, day, pd in zip(
            decisions["decision_id"].to_pylist(), decisions["client_id"].to_pylist(),
            decisions["as_of"].to_pylist(), np.asarray(decisions["pd_e9"]).tolist(), strict=True,
        )
    }  # fmt: skip
    mine = [a for a in acts if a["decision_id"] in known and a["side"] is not None]
    if not mine:
        return None
    about = [known[a["decision_id"]] for a in mine]
    return Overrides(
        tuple(str(a["reviewer"]) for a in mine),
        tuple(str(a["reason"]) for a in mine),
        np.array([1 if a["side"] == "looser" else -1 for a in mine]),
        np.array([outcome.get((c, day), -1) for c, day, _ in about]),
        np.array([pd for *_, pd in about]),
        tuple(groups.get(c, "unknown") for c, *_ in about),
        decisions.num_rows,
    )


def served_scores(
    decisions: Any, sample: Sample, score: IntArray, names: Any, panel: PricePanel
) -> tuple[int, int] | None:
    """Stored scores against those of rebuilt features under the validated tables."""
    if decisions is None:
        return None
    own = {
        (str(names[c]), panel.sessions[t].item()): int(s)
        for c, t, s in zip(sample.client, sample.session, score, strict=True)
    }
    stored = zip(
        decisions["client_id"].to_pylist(),
        decisions["as_of"].to_pylist(),
        np.asarray(decisions["score"]).tolist(),
        strict=True,
    )
    pairs = [(own[c, day], s) for c, day, s in stored if (c, day) in own]
    return (len(pairs), sum(a != b for a, b in pairs)) if pairs else None
