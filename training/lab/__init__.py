"""The market laboratory: clients who live on real prices and leave contract tables behind.

``simulate`` runs a book of margin clients over a price panel under a lender's rules; ``write_lake``
writes its tables. Nothing here decides credit: the lab is the lender's past, made to learn from.
"""

from training.lab.lake import write_lake
from training.lab.rules import MarginRules
from training.lab.simulate import MAX_CLIENTS, LabBook, simulate

__all__ = ["MAX_CLIENTS", "LabBook", "MarginRules", "simulate", "write_lake"]
