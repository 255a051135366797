"""The challenger against the champion on recorded nights: what both decided, and what came of it.

``compare`` makes a document of figures from two models' decisions on the same clients, ``page``
renders it. The rule that the verdict follows is stated here and printed with it.
"""

from training.challenge.compare import Night, compare
from training.challenge.page import write_challenge

__all__ = ["Night", "compare", "write_challenge"]
