"""The gate's rim: reads sealed nights and the record, hands figures to ``models.gate``."""

from serving.nightly.gate.night import Night, read_night
from serving.nightly.gate.study import Study, study

__all__ = ["Night", "Study", "read_night", "study"]
