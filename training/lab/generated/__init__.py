"""Generated markets, drawn from a real one with its limits, locks and suspensions.

================================================= ==========================================
``generate(panel, seed, sessions=, first_day=)``  a generated market
``generate_many(panel, seed, years=, ...)``       independent ones, for 200 market years say
``state_after(panel, seed, session=)``            where such a market stands after a session
``continuations(state, seed, paths=, horizon=)``  what may follow, as compact arrays
``write_generated_market(source, seed, out, ...)`` a market folder
``market_years(panel)``                           length in years of 252 sessions
================================================= ==========================================
"""

from training.lab.generated.folder import write_generated_market
from training.lab.generated.kernel import SUSPENDED
from training.lab.generated.markets import (
    Continuations,
    GeneratedMarket,
    GeneratedState,
    Settings,
    continuations,
    generate,
    generate_many,
    generate_traced,
    market_years,
    sessions_of,
    state_after,
)
from training.lab.generated.source import SPECIAL

__all__ = [
    "SPECIAL",
    "SUSPENDED",
    "Continuations",
    "GeneratedMarket",
    "GeneratedState",
    "Settings",
    "continuations",
    "generate",
    "generate_many",
    "generate_traced",
    "market_years",
    "sessions_of",
    "state_after",
    "write_generated_market",
]
