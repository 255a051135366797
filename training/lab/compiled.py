"""The one place that touches numba: a typed decorator for functions compiled to machine code.

Machine code is kept beside the sources, in a folder named by a hash of all of them: numba itself
looks at the file of the outermost function only and would run stale code after a change elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])
_HERE: Final = Path(__file__).parent


def _sources_sha256() -> str:
    """A hash over the sources of this folder."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.rglob("*.py")):
        digest.update(path.relative_to(_HERE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


KEPT_IN: Final = _HERE / "__pycache__" / f"compiled-{_sources_sha256()[:16]}"


def _may_keep() -> bool:
    """Whether machine code can be kept; a read-only installation compiles anew in each process."""
    try:
        KEPT_IN.mkdir(parents=True, exist_ok=True)
        (KEPT_IN / "probe").touch()
    except OSError:
        return False
    return True


_KEEP: Final = _may_keep()


def compiled(function: F) -> F:
    """Compile on first call, without the interpreter lock and without fast-math.

    Fast-math would let the compiler reorder float operations, and the same seed would then give
    another book on another processor.
    """
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(KEPT_IN)
    try:
        made = numba.njit(nogil=True, fastmath=False, error_model="numpy", cache=_KEEP)(function)
    finally:
        settings.CACHE_DIR = before
    return cast(F, made)
