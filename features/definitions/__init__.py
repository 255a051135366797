"""The feature definitions; importing this package fills ``features.declare.REGISTRY``."""

from features.definitions import (
    costs,
    flows,
    history,
    kyc,
    market,
    portfolio,
    risk,
    securities,
    trading,
)

__all__ = [
    "costs",
    "flows",
    "history",
    "kyc",
    "market",
    "portfolio",
    "risk",
    "securities",
    "trading",
]
