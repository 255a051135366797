"""Probabilities with the outcomes that were drawn from them."""

import numpy as np

ROUNDING = 1e-12


def book(seed, n=400, levels=None):
    """Probabilities, and outcomes drawn from them."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1.2, 1.1, n)))
    if levels:
        p = np.round(p * levels) / levels * 0.98 + 0.01
    return p, (rng.random(n) < p).astype(np.int64)
