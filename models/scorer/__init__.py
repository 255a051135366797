"""The glass-box scorer: an additive booster as integer tables, with exact Shapley values."""

from models.scorer.compile import compile_booster
from models.scorer.tables import AdditiveTables, Effect

__all__ = ["AdditiveTables", "Effect", "compile_booster"]
