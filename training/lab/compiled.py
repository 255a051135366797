"""The one place that touches numba: a typed decorator for functions compiled to machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile on first call, without the interpreter lock and without fast-math.

    Fast-math would let the compiler reorder float operations, and the same seed would then give
    another book on another processor.
    """
    return cast(F, numba.njit(nogil=True, fastmath=False, error_model="numpy")(function))
