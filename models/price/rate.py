"""The financing rate: integer components in bps that sum to the rate, ACT/360."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import BPS_ONE, NULL, PROB_ONE, RATIO_ONE, BoolArray, IntArray
from models.margin.exact import part_up, up
from models.policy import Policy

RATE_COMPONENTS: Final = (
    "funding", "operating", "expected_loss", "capital", "liquidity", "utilisation",
    "commercial_margin", "tier_shift", "step", "clip",
)  # fmt: skip
FREE_STACK: Final = len(RATE_COMPONENTS) - 2


@dataclass(frozen=True)
class RateColumns:
    """Rates of N clients: ``components``, int64, shape (N, 10), sum to ``rate_bps``, shape (N,)."""

    rate_bps: IntArray
    components: IntArray
    month_change_bps: IntArray
    quarter_changes: IntArray


def loss_given_default(
    portfolio_gap: IntArray, policy: Policy, call_line: IntArray | None = None
) -> IntArray:
    """Share of the debt lost if the client defaults at the call line, 1e-6; the policy's, unless
    each account has its own.

    Assets are the call line times debt, fall by the gap and pay the cost of sale; what collateral
    does not cover is recovered at the unsecured rate; never below the house floor.
    """
    kept = RATIO_ONE - portfolio_gap
    after_cost = kept * (RATIO_ONE - policy["liquidation_cost_ratio"]) // RATIO_ONE
    call = policy["call_line_ratio"] if call_line is None else call_line
    covered = call * after_cost // RATIO_ONE
    bare = np.maximum(RATIO_ONE - covered, 0)
    lost = part_up(bare, RATIO_ONE - policy["unsecured_recovery_ratio"])
    return np.clip(lost, policy["lgd_floor_ratio"], RATIO_ONE)


def exposure_at_default(debt: IntArray, cap: IntArray, policy: Policy) -> IntArray:
    """Debt and the counted share of what may still be drawn, minor units, rounded up."""
    undrawn = np.maximum(cap - debt, 0)
    return debt + part_up(undrawn, policy["undrawn_conversion_ratio"])


def expected_loss_amt(pd: IntArray, lgd: IntArray, ead: IntArray) -> IntArray:
    """PD x LGD x EAD in minor units, rounded up; in Python integers, as it passes int64."""
    one = PROB_ONE * RATIO_ONE
    return np.array(
        [
            -(-p * g * e // one)
            for p, g, e in zip(pd.tolist(), lgd.tolist(), ead.tolist(), strict=True)
        ],
        dtype=np.int64,
    )


def stressed_pd(pd: IntArray, policy: Policy) -> IntArray:
    """Default rate in a stress, 1e-9, rounded up, at most one."""
    return np.minimum(up(pd * policy["capital_stress_multiple_ratio"], RATIO_ONE), PROB_ONE)


def risk_components(
    pd: IntArray, lgd: IntArray, policy: Policy, femto: IntArray | None = None
) -> tuple[IntArray, IntArray]:
    """Expected loss and capital charge in bps; the first and their sum are rounded up.

    Capital is the client's part of the firm's expected shortfall, ``femto`` in 1e-15 of its
    exposure (``models.price.capital``; where left out, and at least, the stressed default rate
    times ``lgd``), less the expected loss, times the hurdle. Where the stressed rate has reached
    one, capital falls as PD rises; rounding the sum, not the two parts, keeps the sum from falling
    with it.
    """
    hurdle = policy["hurdle_bps"]
    one_bp = PROB_ONE * RATIO_ONE // BPS_ONE
    loss = pd * lgd
    expected = up(loss, one_bp)
    # loss / one_bp + (capital - loss) x hurdle / (PROB_ONE x RATIO_ONE), in parts below 2**63
    whole, rest = np.divmod(loss, one_bp)
    least = stressed_pd(pd, policy) * lgd
    held = least if femto is None else np.maximum(femto, least)
    unexpected = np.maximum(held - loss, 0)
    total = whole + up(rest * BPS_ONE + unexpected * hurdle, PROB_ONE * RATIO_ONE)
    return expected, total - expected


def utilisation_bps(utilisation: int, policy: Policy) -> int:
    """Kinked add-on: slope to the kink, steeper above it."""
    kink = policy["utilisation_kink_ratio"]
    used = max(0, min(utilisation, RATIO_ONE))
    below = policy["utilisation_slope_bps"] * min(used, kink) // kink
    above = policy["utilisation_slope_above_bps"] * max(0, used - kink) // (RATIO_ONE - kink)
    return int(below + above)


def rates(
    *,
    pd: IntArray,
    lgd: IntArray,
    femto: IntArray | None = None,
    tier: IntArray,
    previous_rate: IntArray,
    month_change_bps: IntArray,
    quarter_changes: IntArray,
    sessions_since: IntArray,
    market: MarketSnapshot,
    policy: Policy,
) -> RateColumns:
    """The stack, bounded against the last published rate, then clipped to floor and ceiling.

    Client by client: no rate depends on another client's but through the snapshot's tier shifts.
    """
    n = len(pd)
    expected, capital = risk_components(pd, lgd, policy, femto)
    shifts = np.array([*market.tier_shift_bps, market.tier_shift_bps[-1]], dtype=np.int64)
    stack = np.zeros((n, len(RATE_COMPONENTS)), dtype=np.int64)
    stack[:, 0] = market.funding_bps
    stack[:, 1] = policy["operating_bps"]
    stack[:, 2] = expected
    stack[:, 3] = capital
    stack[:, 4] = policy["liquidity_bps"]
    stack[:, 5] = utilisation_bps(market.utilisation, policy)
    stack[:, 6] = policy["commercial_margin_bps"]
    stack[:, 7] = shifts[tier - 1]
    target = stack[:, :FREE_STACK].sum(axis=1)

    has_previous: BoolArray = previous_rate != NULL
    last = np.where(has_previous, previous_rate, 0)
    month = policy["rate_month_bps"]
    most = np.minimum(policy["rate_step_bps"] * sessions_since, month)
    rise = np.maximum(np.minimum(most, month - month_change_bps), 0)
    fall = np.maximum(np.minimum(most, month + month_change_bps), 0)
    frozen = quarter_changes >= policy["rate_quarter_changes"]
    rise, fall = np.where(frozen, 0, rise), np.where(frozen, 0, fall)
    bounded = np.where(has_previous, np.clip(target, last - fall, last + rise), target)
    stack[:, 8] = bounded - target
    floor = market.funding_bps + policy["operating_bps"]
    final = np.clip(bounded, floor, max(policy["rate_ceiling_bps"], floor))
    stack[:, 9] = final - bounded
    change = np.where(has_previous, final - last, 0)
    return RateColumns(final, stack, month_change_bps + change, quarter_changes + (change != 0))
