"""Why a client's score moved: Shapley values of the change against the client's previous vector.

For a pair with new values x and previous values x', as a game of two players,

    phi_i = 1/2 [ g(x_i, x'_j) - g(x'_i, x'_j) + g(x_i, x_j) - g(x'_i, x_j) ]

so a feature that did not move gets nothing, and the parts sum to the change of the score.
"""

from __future__ import annotations

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import IntArray
from models.scorer.tables import AdditiveTables


def change_attributions(
    tables: AdditiveTables, before: IntArray, after: IntArray
) -> tuple[IntArray, IntArray]:
    """Change of the log-odds, (N,), and its attributions, (N, K), in 2**-40, summing exactly.

    ``before`` and ``after`` are codes of the same clients, int64 (N, K).
    """
    if before.shape != after.shape or before.ndim != 2 or before.shape[1] != tables.n_features:
        raise InputError(
            f"vectors of shape {before.shape} and {after.shape} cannot be compared by tables of"
            f" {tables.n_features} features"
        )
    phi = np.zeros(after.shape, dtype=np.int64)
    for e in tables.effects:
        old, new = e.cells(before), e.cells(after)
        if len(e.features) == 1:
            phi[:, e.features[0]] += e.score[new] - e.score[old]
            continue
        g00, g11 = e.score[old], e.score[new]
        g10, g01 = e.score[new[0], old[1]], e.score[old[0], new[1]]
        first = (g10 - g00 + g11 - g01) >> 1
        # an odd half goes to the second feature; one that did not move gets exactly nothing
        phi[:, e.features[0]] += first
        phi[:, e.features[1]] += (g11 - g00) - first
    return phi.sum(axis=1), phi
