"""A typed decorator for functions compiled to machine code by numba, kept between processes.

Machine code is kept in ``__pycache__`` beside the source, in a folder named by a hash of that
source and of this file: numba itself looks at dates, which a checkout or an archive may not keep.
A compiled function therefore calls only functions of its own module.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def _kept_in(source: Path) -> Path | None:
    """The folder for a source's machine code; None where a read-only installation has none."""
    digest = hashlib.sha256(source.read_bytes() + b"\0" + Path(__file__).read_bytes()).hexdigest()
    folder = source.parent / "__pycache__" / f"{source.stem}-{digest[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "probe").touch()
    except OSError:
        return None
    return folder


def compiled(function: F) -> F:
    """Compile on first call, without the interpreter lock and without fast-math.

    Fast-math would let the compiler drop the NaN test, and a missing value would be binned as a
    number without a word.
    """
    folder = _kept_in(Path(inspect.getfile(function)))
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(folder or "")
    try:
        made = numba.njit(
            nogil=True, fastmath=False, error_model="numpy", cache=folder is not None
        )(function)
    finally:
        settings.CACHE_DIR = before
    return cast(F, made)
