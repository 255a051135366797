"""Where a lake lies: a folder, or object storage through Arrow's file systems (``s3://...``).

Tables of object storage are read from a copy of the shared tables and of one bucket at a time;
what a night writes goes back as whole objects. A folder is read and written in place.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pyarrow import fs

from data_contracts.errors import InputError
from data_contracts.lake import LakeInfo, lake_info, write_atomically
from data_contracts.tables import TABLES

LAKE_FILE: Final = "lake.json"
CHECK: Final = "quarantine/check.json"


@lru_cache(maxsize=4)
def _file_system(uri: str) -> tuple[fs.FileSystem, str]:
    try:
        found: tuple[fs.FileSystem, str] = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        why = str(error).replace(uri, "the address")
        raise InputError(
            f"object storage cannot be opened: {why}; write s3://bucket/lake?region=eu-west-1"
        ) from None
    return found


class Store:
    """A lake by its path or address.

    Attributes
    ----------
    where : the path, or the address such as ``s3://bucket/lake``
    remote : whether it is object storage
    """

    def __init__(self, where: str | Path) -> None:
        self.where = str(where)
        self.remote = "://" in self.where
        if self.remote:
            self._fs, self._base = _file_system(self.where)

    @property
    def named(self) -> str:
        """The lake for messages: without the keys that an address may carry."""
        if not self.remote:
            return self.where
        scheme, rest = self.where.split("://", maxsplit=1)
        return f"{scheme}://{rest.split('?')[0].rsplit('@', maxsplit=1)[-1]}"

    def _at(self, relative: str) -> str:
        return f"{self._base.rstrip('/')}/{relative}"

    @property
    def root(self) -> Path:
        """The folder of a lake that lies in one."""
        if self.remote:
            raise InputError(f"{self.named} is no folder; copy it to one first")
        return Path(self.where)

    def get(self, relative: str) -> bytes | None:
        """A file's content; None where there is none."""
        if not self.remote:
            path = Path(self.where) / relative
            return path.read_bytes() if path.is_file() else None
        try:
            with self._fs.open_input_stream(self._at(relative)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def put(self, relative: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file so that a reader sees all of it or none, durable when this returns."""
        if not self.remote:
            path = Path(self.where) / relative
            if durable:
                write_atomically(path, data)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_bytes(data)
            temporary.replace(path)
            return
        with self._fs.open_output_stream(self._at(relative)) as stream:
            stream.write(data)

    def remove(self, relative: str) -> None:
        """Remove a folder with all in it; nothing where there is none."""
        if not self.remote:
            shutil.rmtree(Path(self.where) / relative, ignore_errors=True)
            return
        if self._fs.get_file_info(self._at(relative)).type != fs.FileType.NotFound:
            self._fs.delete_dir(self._at(relative))

    def listing(self, relative: str) -> list[tuple[str, int, int]]:
        """Files below a folder: path, bytes and time of the last change in nanoseconds, sorted."""
        if not self.remote:
            folder = Path(self.where) / relative
            return sorted(
                (str(p.relative_to(self.where)), p.stat().st_size, p.stat().st_mtime_ns)
                for p in folder.rglob("*")
                if p.is_file()
            )
        chosen = fs.FileSelector(self._at(relative), allow_not_found=True, recursive=True)
        base = len(self._at(""))
        return sorted(
            (i.path[base:], int(i.size), int(i.mtime_ns or 0))
            for i in self._fs.get_file_info(chosen)
            if i.type == fs.FileType.File
        )

    def shared_files(self) -> list[tuple[str, int, int]]:
        """The files of the tables that all clients share."""
        shared = [name for name, spec in TABLES.items() if not spec.bucketed]
        return [f for name in shared for f in self.listing(name)]

    def bucket_files(self, bucket: int) -> list[tuple[str, int, int]]:
        """The files of one bucket of the clients' tables."""
        own = [name for name, spec in TABLES.items() if spec.bucketed]
        return [f for name in own for f in self.listing(f"{name}/bucket={bucket:03d}")]

    def copy(self, files: list[str], folder: Path) -> None:
        """Copy files to the same places below a folder."""
        for relative in files:
            data = self.get(relative)
            if data is not None:
                target = folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)

    @contextmanager
    def bucket(self, number: int) -> Iterator[Path]:
        """A folder with a bucket's tables; of object storage a copy for as long as it is open."""
        if not self.remote:
            yield Path(self.where)
            return
        with tempfile.TemporaryDirectory(prefix="gearline-bucket-") as name:
            folder = Path(name)
            wanted = [f"{t}/bucket={number:03d}" for t, s in TABLES.items() if s.bucketed]
            files = [f for w in wanted for f, _, _ in self.listing(w)]
            self.copy([LAKE_FILE, CHECK, *files], folder)
            for place in wanted:  # an empty bucket has no object, and is still there
                if self.listing(place.split("/", maxsplit=1)[0]):
                    (folder / place).mkdir(parents=True, exist_ok=True)
            yield folder

    @contextmanager
    def base_with(self, *files: str) -> Iterator[Path]:
        """A folder in which these files lie where they lie in the lake."""
        if not self.remote:
            yield Path(self.where)
            return
        with tempfile.TemporaryDirectory(prefix="gearline-files-") as name:
            self.copy(list(files), Path(name))
            yield Path(name)

    def market(self) -> Path:
        """A folder with the shared tables and the bundle; of object storage a copy, made once."""
        return _shared_copy(self.where) if self.remote else Path(self.where)

    def info(self) -> LakeInfo:
        """What ``lake.json`` states."""
        return lake_info(self.market())


_COPIES: dict[str, Any] = {}


def _shared_copy(where: str) -> Path:
    """The shared tables and bundles of a lake in object storage; gone when the process ends."""
    if where not in _COPIES:
        _COPIES[where] = tempfile.TemporaryDirectory(prefix="gearline-market-")
        store, folder = Store(where), Path(_COPIES[where].name)
        shared = [name for name, spec in TABLES.items() if not spec.bucketed]
        files = [f for n in (*shared, "bundle", "bundles") for f, _, _ in store.listing(n)]
        store.copy([LAKE_FILE, CHECK, *files], folder)
    return Path(_COPIES[where].name)
