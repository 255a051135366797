"""The sections of a validation report, each a function of the material alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from training.validation.document import Section
from training.validation.material import Material
from training.validation.sections.comparison import benchmark, overfit, regimes
from training.validation.sections.drift import stability
from training.validation.sections.ecb import ecb_table
from training.validation.sections.limits import data, inventory, limitations
from training.validation.sections.people import fairness, overrides
from training.validation.sections.prices import prices
from training.validation.sections.probabilities import calibration
from training.validation.sections.proofs import explanation, proofs
from training.validation.sections.rank_order import discrimination
from training.validation.sections.shape import soundness
from training.validation.sections.weakness import resilience, robustness, weak_spots

SECTIONS: Final[tuple[Callable[[Material], Section], ...]] = (
    inventory,
    data,
    soundness,
    discrimination,
    calibration,
    ecb_table,
    stability,
    weak_spots,
    robustness,
    resilience,
    overfit,
    benchmark,
    regimes,
    fairness,
    explanation,
    proofs,
    prices,
    overrides,
    limitations,
)
"""In the order of the report; findings, grade, triggers and cross-walk follow them."""
