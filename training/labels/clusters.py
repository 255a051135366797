"""Clusters: clients who must stay on one side of a split, because they act or fall together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from data_contracts.units import IntArray


def stable_number(name: str) -> int:
    """63 bits of SHA-256: the same on every machine and run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def clusters(
    client_ids: Sequence[str], group_ids: Sequence[str], client: IntArray, group: IntArray
) -> IntArray:
    """A stable number for each set of clients linked by the groups they ever belonged to.

    A client who moves from one related group to another links both. The number is that of the
    first of the set's groups by name, or of the client without any.

    Parameters
    ----------
    client_ids, group_ids : names, ascending
    client, group : int64, one entry a membership: positions in the names

    Returns
    -------
    int64, shape (clients,)
    """
    least = np.full(len(client_ids), len(group_ids), dtype=np.int64)
    while True:
        of_group = np.arange(len(group_ids) + 1, dtype=np.int64)
        np.minimum.at(of_group, group, least[client])
        nearer = least.copy()
        np.minimum.at(nearer, client, of_group[group])
        if np.array_equal(nearer, least):
            break
        least = nearer
    number = {k: stable_number(group_ids[k]) for k in set(least[least < len(group_ids)].tolist())}
    return np.array(
        [number[k] if k in number else stable_number(c) for k, c in zip(least.tolist(), client_ids, strict=True)],
        dtype=np.int64,
    )  # fmt: skip
