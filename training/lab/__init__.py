"""The market laboratory: clients who live on real prices and leave contract tables behind.

``simulate`` runs a book of margin clients over a price panel under a lender's rules; ``write_lake``
writes its tables. Nothing here decides credit: the lab is the lender's past, made to learn from.
"""

from training.lab.lake import LakeWriter, buckets_for, write_lake
from training.lab.rules import MarginRules
from training.lab.simulate import MAX_CLIENTS, LabBook, Offers, set_stage, simulate, simulate_block

__all__ = [
    "MAX_CLIENTS",
    "LabBook",
    "LakeWriter",
    "MarginRules",
    "Offers",
    "buckets_for",
    "set_stage",
    "simulate",
    "simulate_block",
    "write_lake",
]
