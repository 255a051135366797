"""Arrays in files: written once, forced to disk, mapped into memory when they are read again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_contracts.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]
ALIGNED: Final = 64
"""Arrays begin at multiples of a cache line."""


@dataclass(frozen=True)
class Stored:
    """Where an array lies: a file under the state folder, and what is in it."""

    path: str
    offset: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def dtype_(self) -> np.dtype[Any]:
        """The type of an element, with its byte order."""
        if "," not in self.dtype:
            return np.dtype(self.dtype)
        fields = [field.split(" ") for field in self.dtype.split(",")]
        return np.dtype([(name, kind) for name, kind in fields])

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.dtype_.itemsize * int(np.prod(self.shape, dtype=np.int64))

    def read(self, root: Path) -> Array:
        """The array, mapped; what is written to it stays in memory.

        Raises
        ------
        InputError
            If the file is gone or shorter than it was.
        """
        path = root / self.path
        size = path.stat().st_size if path.is_file() else 0
        if size < self.end:
            raise InputError(
                f"the feature state is damaged: {path} has {size} bytes of {self.end}; leave"
                " --since out for a full build"
            )
        if 0 in self.shape:
            return np.zeros(self.shape, dtype=self.dtype_)
        # Copied when written to, so that compiled loops see an ordinary writable array.
        mapped = np.memmap(path, self.dtype_, mode="c", offset=self.offset, shape=self.shape)
        return np.asarray(mapped)

    def load(self, root: Path) -> Array:
        """The array in memory, for what is read as a whole and changed."""
        self.read(root)  # refuses a file that is cut short
        count = int(np.prod(self.shape, dtype=np.int64))
        found = np.fromfile(root / self.path, self.dtype_, count=count, offset=self.offset)
        return found.reshape(self.shape)

    def as_list(self) -> list[Any]:
        """For JSON."""
        return [self.path, self.offset, self.dtype, list(self.shape)]

    @staticmethod
    def of_list(found: list[Any]) -> Stored:
        """From JSON."""
        path, offset, dtype, shape = found
        return Stored(str(path), int(offset), str(dtype), tuple(int(n) for n in shape))


def _written(array: Array) -> Array:
    """The array as it is written: contiguous, little-endian."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _type_text(dtype: np.dtype[Any]) -> str:
    if dtype.names is None:
        return dtype.str
    return ",".join(f"{name} {dtype[name].str}" for name in dtype.names)


def pack(root: Path, path: str, arrays: Mapping[str, Array]) -> dict[str, Stored]:
    """Write arrays one after the other into one new file, and force it to disk."""
    out: dict[str, Stored] = {}
    with open(root / path, "xb") as handle:
        for name, given in arrays.items():
            array = _written(given)
            at = handle.tell()
            handle.write(b"\0" * (-at % ALIGNED))
            out[name] = Stored(path, handle.tell(), _type_text(array.dtype), array.shape)
            handle.write(array.reshape(-1).view(np.uint8).data)
        handle.flush()
        os.fsync(handle.fileno())
    return out


class Stream:
    """An array that is written piece by piece into a new file of its own."""

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        self.handle = open(root / path, "xb")  # noqa: SIM115 - open until done()
        self.rows, self.kind, self.width = 0, "|u1", ()

    def add(self, array: Array) -> None:
        """Write a piece; all pieces have one type and one width."""
        array = _written(array)
        self.kind, self.width = _type_text(array.dtype), array.shape[1:]
        self.handle.write(array.reshape(-1).view(np.uint8).data)
        self.rows += len(array)

    def done(self) -> Stored:
        """Force it to disk."""
        self.handle.flush()
        os.fsync(self.handle.fileno())
        self.handle.close()
        return Stored(self.path, 0, self.kind, (self.rows, *self.width))


def sync_folder(path: Path) -> None:
    """Force a folder's list of files to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def text_arrays(name: str, texts: pa.Array) -> dict[str, Array]:
    """Texts as two arrays: their bytes, and where each begins."""
    large = texts.cast(pa.large_string())
    _, offsets, data = large.buffers()
    if offsets is None or not len(large):
        return {f"{name}_edges": np.zeros(1, dtype=np.int64), f"{name}_bytes": np.zeros(0, "u1")}
    edges = np.frombuffer(offsets, dtype=np.int64)[large.offset : large.offset + len(large) + 1]
    held = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return {f"{name}_edges": edges - edges[0], f"{name}_bytes": held[edges[0] : edges[-1]]}


def texts_of(edges: Array, held: Array) -> pa.Array:
    """The texts of two such arrays, without a copy."""
    count = len(edges) - 1
    buffers = [None, pa.py_buffer(edges), pa.py_buffer(held)]
    return pa.Array.from_buffers(pa.large_string(), count, buffers)
