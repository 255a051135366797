"""The glass-box scorer: an additive booster as integer tables, with exact Shapley values."""

from models.scorer.compile import Compiled, CompiledFloat, compile_booster, compile_float_booster
from models.scorer.floats import FloatTables
from models.scorer.front import FloatFront
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables, Effect

__all__ = [
    "AdditiveTables",
    "Compiled",
    "CompiledFloat",
    "Effect",
    "FloatFront",
    "FloatTables",
    "Reference",
    "compile_booster",
    "compile_float_booster",
]
