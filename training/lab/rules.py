"""The lender's rules as the simulator needs them: integers, one value a session where dated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import BPS_ONE, MAX_AMT, RATIO_ONE, IntArray

Kind = Literal["reg_t", "cn"]


@dataclass(frozen=True)
class MarginRules:
    """Margin rules of one lender over the sessions of a panel.

    Lines are maintenance ratios, assets over debt with interest, in 1e-6: 1_300_000 is 130 %.

    Attributes
    ----------
    kind : ``reg_t`` (one rolling margin loan an account) or ``cn`` (a contract a financed purchase)
    initial_ratio_e6 : int64, shape (T,), one a panel session. ``reg_t``: the share of the holdings'
        value that equity must cover after a purchase; ``cn``: margin needed for a unit of new loan
    haircut_e6 : the share of a security's value that counts as margin where the panel has none
    observe, warn, call, force, target : the lines; a forced sale stops at ``target``
    deadline_sessions : a call is cured by the close of this many sessions later
    rate_bps : int64, shape (T,), yearly rate on debt, ACT/360
    cost_bps : cost of a trade, inside the fill price; forced sales cost ``FORCED_COST`` times more
    t_plus_one : shares bought in a session cannot be sold in it; the simulator trades once a
        session, sales first, so its clients keep this rule in every market
    rule_pack : name of the policy pack, kept on every contract
    max_single_client_debt_amt : most debt of one client, minor units
    """

    kind: Kind
    initial_ratio_e6: IntArray
    haircut_e6: int
    observe: int
    warn: int
    call: int
    force: int
    target: int
    deadline_sessions: int
    rate_bps: IntArray
    cost_bps: int
    t_plus_one: bool
    rule_pack: str
    max_single_client_debt_amt: int

    def __post_init__(self) -> None:
        if self.kind not in ("reg_t", "cn"):
            raise InputError(f"margin rules are of kind reg_t or cn, not {self.kind!r}")
        lines = (self.observe, self.warn, self.call, self.force)
        if list(lines) != sorted(lines, reverse=True) or self.force <= RATIO_ONE:
            raise InputError(
                f"the lines must fall from observe to force and stay above {RATIO_ONE}: {lines}"
            )
        if self.target < self.call:
            raise InputError(f"target {self.target} lies below the call line {self.call}")
        if self.deadline_sessions < 1:
            raise InputError(f"deadline_sessions must be at least 1, not {self.deadline_sessions}")
        if not 0 <= self.cost_bps <= BPS_ONE // 20:
            raise InputError(f"cost_bps must be 0 to {BPS_ONE // 20}, not {self.cost_bps}")
        if len(self.initial_ratio_e6) != len(self.rate_bps):
            raise InputError(
                f"initial_ratio_e6 has {len(self.initial_ratio_e6)} sessions, rate_bps has"
                f" {len(self.rate_bps)}; both are one value a panel session"
            )
        if len(self.rate_bps) and int(self.initial_ratio_e6.min()) < RATIO_ONE // 10:
            raise InputError("initial_ratio_e6 below 100000 (10 %) is no margin rule")
        if len(self.rate_bps) and int(self.rate_bps.min()) < 0:
            raise InputError(f"rate_bps must not be negative: {int(self.rate_bps.min())}")
        if not 0 < self.max_single_client_debt_amt <= MAX_AMT:
            raise InputError(
                f"max_single_client_debt_amt must be 1 to {MAX_AMT},"
                f" not {self.max_single_client_debt_amt}"
            )


def reg_t_rules(sessions: int, *, rate_bps: int = 650) -> MarginRules:
    """US rules with one rate throughout: 50 % initial, 30 % house maintenance (1 / 0.7)."""
    return MarginRules(
        kind="reg_t",
        initial_ratio_e6=np.full(sessions, 500_000, dtype=np.int64),
        haircut_e6=RATIO_ONE,
        observe=1_600_000,
        warn=1_500_000,
        call=1_428_572,
        force=1_176_471,
        target=1_500_000,
        deadline_sessions=3,
        rate_bps=np.full(sessions, rate_bps, dtype=np.int64),
        cost_bps=10,
        t_plus_one=False,
        rule_pack="us-reg-t/lab",
        max_single_client_debt_amt=500_000_000,
    )


def cn_rules(
    sessions: int, *, ratio_e6: int = 750_000, rate_bps: int = 835, cost_bps: int = 15
) -> MarginRules:
    """Chinese rules with one margin ratio throughout: lines 145/130/110, cure by T+1."""
    return MarginRules(
        kind="cn",
        initial_ratio_e6=np.full(sessions, ratio_e6, dtype=np.int64),
        haircut_e6=650_000,
        observe=1_600_000,
        warn=1_450_000,
        call=1_300_000,
        force=1_100_000,
        target=1_450_000,
        deadline_sessions=1,
        rate_bps=np.full(sessions, rate_bps, dtype=np.int64),
        cost_bps=cost_bps,
        t_plus_one=True,
        rule_pack="cn-house/lab",
        max_single_client_debt_amt=5_000_000_000,
    )
