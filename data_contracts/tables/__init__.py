"""The contract tables, one dataclass each; importing this module fills ``TABLES``."""

from data_contracts.columns import TABLES, Column, Table
from data_contracts.tables import account, client, market

__all__ = ["TABLES", "Column", "Table", "account", "client", "market"]
