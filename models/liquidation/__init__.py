"""Plans of forced sales: what to sell, in which session, of which name. Advice, never an order."""

from models.liquidation.plan import Distressed, Plan, SaleMarket, plan

__all__ = ["Distressed", "Plan", "SaleMarket", "plan"]
