"""The lender of the laboratory: a policy pack as the simulator's margin rules."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import IntArray
from features.panel import PricePanel
from models.policy import Pack
from training.lab import MarginRules

SPREAD_BPS: Final = 200
"""The simulated lender charges funding cost and this spread: operating cost, margin and a reserve."""
COST_BPS: Final = {"reg_t": 5, "cn": 12}
MOST_CLIENT_DEBT_AMT: Final = 5_000_000_000
"""50 million units of the currency: five per cent of the simulated lender's capital."""


def margin_rules(pack: Pack, panel: PricePanel) -> MarginRules:
    """The pack's lines, ratios and rates over the panel's sessions.

    Sessions before the pack's first date take its first values: nothing is simulated there, only
    price history is read.
    """
    ratios: IntArray = np.empty(len(panel.sessions), dtype=np.int64)
    rates: IntArray = np.empty(len(panel.sessions), dtype=np.int64)
    cache: dict[object, tuple[int, int]] = {}
    for t, day in enumerate(panel.sessions.astype("datetime64[D]").tolist()):
        month = (day.year, day.month, day.day)
        if month not in cache:
            policy = pack.on(min(max(day, pack.first_date), pack.last_date))
            if pack.kind == "cn":
                ratio = max(
                    policy["financing_margin_ratio"],
                    policy["house_margin_ratio_constant_ratio"] - policy["haircut_max_share_ratio"],
                    policy["house_margin_ratio_floor_ratio"],
                )
            else:
                ratio = policy["initial_margin_ratio"]
            rate = min(policy["funding_bps"] + SPREAD_BPS, policy["rate_ceiling_bps"])
            cache[month] = (ratio, rate)
        ratios[t], rates[t] = cache[month]
    last = panel.sessions[-1].astype("datetime64[D]").item()
    policy = pack.on(min(max(last, pack.first_date), pack.last_date))
    return MarginRules(
        kind="cn" if pack.kind == "cn" else "reg_t",
        initial_ratio_e6=ratios,
        haircut_e6=policy["haircut_max_share_ratio"] if pack.kind == "cn" else 500_000,
        observe=policy["observe_line_ratio"],
        warn=policy["warn_line_ratio"],
        call=policy["call_line_ratio"],
        force=policy["force_line_ratio"],
        target=policy["target_line_ratio"],
        deadline_sessions=policy["call_deadline_sessions"],
        rate_bps=rates,
        cost_bps=COST_BPS[pack.kind],
        t_plus_one=pack.kind == "cn",
        rule_pack=pack.name,
        max_single_client_debt_amt=MOST_CLIENT_DEBT_AMT,
    )
