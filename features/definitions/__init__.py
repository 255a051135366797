"""The feature definitions; importing this package fills ``features.declare.REGISTRY``."""

from features.definitions import history, kyc, market, portfolio, risk, trading

__all__ = ["history", "kyc", "market", "portfolio", "risk", "trading"]
