"""Random numbers as a function of (seed, client, session, draw): no state, no order, no threads.

A 64-bit finaliser (SplitMix64: Steele, Lea, Flood 2014) is applied twice, once to make a client's
key and once to the counter under that key. A client's numbers therefore depend on nothing but the
seed, the client and the place where they are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.lab.compiled import compiled

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_TO_UNIT = 2.0**-53
_DRAWS = np.uint64(256)
"""Draws reserved for one session; more would repeat the next session's numbers."""
_SECOND = np.uint64(0xD1B54A32D192ED03)


@compiled
def mix(value: Any) -> Any:
    """SplitMix64's output function: a bijection of 64 bits that looks random."""
    z = value + _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@compiled
def client_key(seed: int, client: int) -> Any:
    """The key of a client's own stream."""
    return mix(mix(np.uint64(seed)) ^ (np.uint64(client) * _SECOND))


@compiled
def uniform(key: Any, session: int, draw: int) -> float:
    """A number in (0, 1), never 0 or 1 exactly."""
    bits = mix(key ^ mix(np.uint64(session) * _DRAWS + np.uint64(draw)))
    return (float(bits >> _S11) + 0.5) * _TO_UNIT


@compiled
def normal(key: Any, session: int, draw: int) -> float:
    """A standard normal number (Box-Muller); it uses up ``draw`` and ``draw + 1``."""
    radius = np.sqrt(-2.0 * np.log(uniform(key, session, draw)))
    return float(radius * np.cos(2.0 * np.pi * uniform(key, session, draw + 1)))


@compiled
def uniform_table(seed: int, numbers: IntArray, place: int, draws: int) -> FloatArray:
    """``draws`` uniform numbers for each client number, at one place in the stream."""
    out = np.empty((len(numbers), draws))
    for i in range(len(numbers)):
        key = client_key(seed, numbers[i])
        for d in range(draws):
            out[i, d] = uniform(key, place, d)
    return out


@compiled
def normal_table(seed: int, numbers: IntArray, place: int, draws: int) -> FloatArray:
    """``draws`` standard normal numbers for each client number, at one place in the stream."""
    out = np.empty((len(numbers), draws))
    for i in range(len(numbers)):
        key = client_key(seed, numbers[i])
        for d in range(draws):
            out[i, d] = normal(key, place, 2 * d)
    return out
