"""The row form of ``decide``."""

from __future__ import annotations

from data_contracts.case import Case
from data_contracts.decision import Decision
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from models.bundle import Bundle
from models.decide.body import decisions
from models.decide.columns import decide_columns
from models.policy import Policy


def decide(
    case: Case, features: FeatureFrame, bundle: Bundle, policy: Policy, market: MarketSnapshot
) -> Decision:
    """Decide on one client.

    Parameters
    ----------
    case : request, book, related group, previous decision, override
    features : a frame of one row, quantised
    bundle : tables, calibration, tiers, reference, feature set
    policy : the pack in force on the effective date
    market : the snapshot of the case's session

    Returns
    -------
    Decision
        Outcome, tier, PD, cap and rate with their waterfalls, lines, reasons, attributions, hashes.

    Raises
    ------
    InputError
        If the inputs do not belong together.
    """
    return decisions(decide_columns([case], features, bundle, policy, market))[0]
