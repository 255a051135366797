"""The firm's own limits: what law and quota leave it to lend."""

from __future__ import annotations

from data_contracts.units import RATIO_ONE
from models.policy import Policy


def quota_by_law(quota_amt: int, net_capital_amt: int, policy: Policy) -> int:
    """The quota, never above the multiple of net capital that the law allows, minor units."""
    name = "margin_lending_capital_multiple_ratio"
    if name not in policy:
        return quota_amt
    return min(quota_amt, max(net_capital_amt, 0) * policy[name] // RATIO_ONE)
