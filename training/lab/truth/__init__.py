"""The truth experiment: in generated markets the hazard of a state is known, by inner simulation.

================================================== ==========================================
``stand(stage, generated, who, session)``          clients at the close of an outer session
``true_hazards(standing, seed, paths=, horizon=)`` shares of inner paths, standard errors
``realised(standing, stage)``                      what the outer path itself brought
``judged(plan, number, as_of, states, paths)``     sampled states, what is seen and what is true
``taught(plan, number, as_of)``                    rows with labels, for a first model
================================================== ==========================================
"""

from training.lab.truth.books import NEAR, Known, Plan, Seen, judged, taught, together
from training.lab.truth.hazard import (
    OUTCOMES,
    Hazards,
    Standing,
    joined,
    realised,
    some,
    stand,
    true_hazards,
)

__all__ = [
    "NEAR",
    "OUTCOMES",
    "Hazards",
    "Known",
    "Plan",
    "Seen",
    "Standing",
    "joined",
    "judged",
    "realised",
    "some",
    "stand",
    "taught",
    "together",
    "true_hazards",
]
