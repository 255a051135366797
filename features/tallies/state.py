"""The state that a night leaves for the next: every client's sums, and what will leave a window.

``LAKE/feature-state/SESSION.json`` describes the state of a session and names the files it is made
of. They lie in folders beside it, are written once and never changed: the sums anew every night,
fills and days as segments, a large one of the full build and a small one of each night. A state is
replaced by renaming a finished description over the old one after everything that it names is on
the disk. The states of the last sessions are kept; files that no description names are removed.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import lake_info, table_files, write_atomically
from data_contracts.units import IntArray
from features.tallies.days import DaySegment
from features.tallies.fills import FillSegment
from features.tallies.full import Calendar, LakeTallies
from features.tallies.kernel import DAY_COLUMNS, DECAY, SUM_COLUMNS, WINDOWS
from features.tallies.registry import Registry
from features.tallies.scan import all_conditions
from features.tallies.store import Stored, pack, sync_folder, text_arrays, texts_of
from features.tallies.values import Tallies

FOLDER: Final = "feature-state"
FORMAT: Final = 2
STATES_KEPT: Final = 10
"""States of so many sessions stay, so that the last nights can be run again."""
WAY_OUT: Final = "leave --since out for a full build"
FILLS: Final = tuple(FillSegment.__dataclass_fields__)
DAYS: Final = tuple(DaySegment.__dataclass_fields__)


@dataclass(frozen=True)
class Files:
    """Files of a table that a state was made of; positions never change from night to night.

    ``size`` in bytes, time of ``change`` in nanoseconds; ``latest`` is the last instant at which a
    row becomes visible: a file is wholly counted once that is past.
    """

    names: tuple[str, ...]
    size: IntArray
    change: IntArray
    latest: IntArray

    @staticmethod
    def listed(root: Path, table: str) -> Files:
        """The files of a table's buckets now, in order; ``latest`` is not known yet."""
        found: list[tuple[str, os.stat_result]] = []
        for bucket in range(lake_info(root).buckets):
            name = f"{table}/bucket={bucket:03d}"
            if not (root / name).is_dir():
                table_files(root, table, bucket)  # refuses it with the way out
            mine = list(_parquet_files(root / name, name))
            found += sorted(mine, key=lambda one: one[0].split("/"))
        return Files(
            tuple(name for name, _ in found),
            np.array([stat.st_size for _, stat in found], dtype=np.int64),
            np.array([stat.st_mtime_ns for _, stat in found], dtype=np.int64),
            np.full(len(found), np.iinfo(np.int64).max, dtype=np.int64),
        )

    def stamps(self) -> dict[str, tuple[int, int]]:
        """Size and time of change by name."""
        return dict(zip(self.names, zip(self.size.tolist(), self.change.tolist(), strict=True),
                        strict=True))  # fmt: skip

    def of_buckets(self, buckets: int) -> list[list[int]]:
        """Positions of the files of each bucket."""
        out: list[list[int]] = [[] for _ in range(buckets)]
        for k, name in enumerate(self.names):
            out[int(name.split("/")[1].removeprefix("bucket="))].append(k)
        return out

    def take(self, places: Sequence[int]) -> Files:
        """Some of them."""
        at = np.asarray(places, dtype=np.int64)
        names = tuple(self.names[k] for k in places)
        return Files(names, self.size[at], self.change[at], self.latest[at])

    def followed_by(self, more: Files) -> Files:
        """These, then others."""
        return Files(
            self.names + more.names,
            np.concatenate([self.size, more.size]),
            np.concatenate([self.change, more.change]),
            np.concatenate([self.latest, more.latest]),
        )

    def rank(self) -> IntArray:
        """The place of each file in the order in which a lake's rows are read."""
        out = np.empty(len(self.names), dtype=np.int64)
        order = sorted(range(len(out)), key=lambda k: self.names[k].split("/"))
        out[order] = np.arange(len(out))
        return out


def _parquet_files(folder: Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    """The files under a folder, as ``table_files`` finds them, in one pass with their stamps."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _parquet_files(folder / entry.name, f"{name}/{entry.name}")
            elif entry.name.endswith(".parquet"):
                yield f"{name}/{entry.name}", entry.stat()


@dataclass(frozen=True)
class Segment:
    """What a build counted, or several nights: fills, and the days that were added and taken back.

    ``nights`` is 0 for a full build.
    """

    fills: FillSegment
    days: DaySegment
    nights: int

    @staticmethod
    def read(home: Path, stored: dict[str, Stored], nights: int) -> Segment:
        """From the state folder."""
        got = {name: where.read(home) for name, where in stored.items()}
        fills = FillSegment(**{name: got[name] for name in FILLS})
        days = DaySegment(**{name: got[f"day_{name}"] for name in DAYS})
        return Segment(fills, days, nights)

    @staticmethod
    def together(parts: Sequence[Segment]) -> Segment:
        """Several as one."""
        return Segment(
            FillSegment.together([part.fills for part in parts]),
            DaySegment.together([part.days for part in parts]),
            sum(part.nights for part in parts),
        )


@dataclass(frozen=True)
class State:
    """Everything a night needs to know about the nights before.

    ``calendar`` is the SHA-256 of the sessions up to this one. ``held`` says where the registry and
    the segments are stored already, so that a night writes only what is new.
    """

    root: Path
    session: dt.date
    cut: int
    calendar: str
    trades: Files
    accounts: Files
    registry: Registry
    tallies: Tallies
    segments: tuple[Segment, ...]
    held: Held

    def lake_tallies(self, calendar: Calendar) -> LakeTallies:
        """The listed clients, by bucket then client number."""
        known = self.registry
        rows = np.flatnonzero(known.listed(calendar.sessions[calendar.t]))
        if bool(np.any(np.diff(known.client_bucket) < 0)):  # clients that came after the full build
            ids = known.client_ids.take(pa.array(rows))
            order = pa.table({"b": known.client_bucket[rows], "c": ids, "row": rows})
            rows = np.asarray(order.sort_by([("b", "ascending"), ("c", "ascending")])["row"])
        if len(rows) == len(known.client_ids) and bool(np.all(rows == np.arange(len(rows)))):
            return LakeTallies(self.session, known.client_ids, self.tallies)
        taken = known.client_ids.take(pa.array(rows))
        return LakeTallies(self.session, taken, self.tallies.take(rows))


@dataclass(frozen=True)
class Held:
    """Where the parts of a state are stored; a part that is new is stored nowhere yet."""

    registry: dict[str, Stored] | None
    segments: tuple[dict[str, Stored] | None, ...]

    @staticmethod
    def nothing() -> Held:
        """Nothing is stored."""
        return Held(None, ())


@cache
def definitions_sha256() -> str:
    """Hash of what the sums mean; a state with another is not gone on from.

    The index of trade numbers holds DuckDB's hashes, and another version of it may hash otherwise:
    so the hash of a fixed text is among them.
    """
    probe = duckdb.execute("SELECT hash('gearline')").fetchall()[0][0]
    document = {
        "format": FORMAT,
        "windows": list(WINDOWS),
        "columns": list(SUM_COLUMNS),
        "days": list(DAY_COLUMNS),
        "decay": repr(DECAY),
        "rules": all_conditions(),
        "hash": str(probe),
    }
    return sha256_hex(canonical_bytes(document))


def _lake_sha256(root: Path) -> str:
    return hashlib.sha256((root / "lake.json").read_bytes()).hexdigest()


@contextmanager
def only_build(root: Path) -> Iterator[None]:
    """Hold the state folder for one build.

    Raises
    ------
    InputError
        If another process is building.
    """
    folder = root / FOLDER
    if not folder.is_dir():
        folder.mkdir()
        sync_folder(root)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"another build is writing the feature state of {root}; wait until it has ended"
            ) from None
        yield
    finally:
        os.close(handle)


def new_folder(root: Path, session: dt.date) -> str:
    """Make the folder for a state's files; its name has not been used yet."""
    number = 0
    while (root / FOLDER / f"{session}.{number}").exists():
        number += 1
    (root / FOLDER / f"{session}.{number}").mkdir(parents=True)
    return f"{session}.{number}"


def write_state(state: State, folder: str) -> State:
    """Write what is new of a state, then its description, which makes it valid."""
    home, held = state.root / FOLDER, state.held
    new: dict[str, Any] = {
        f"tallies.{name}": getattr(state.tallies, name) for name in ("sums", "decayed", "last")
    }
    for table in ("trades", "accounts"):
        files: Files = getattr(state, table)
        new |= {f"{table}.{n}": v for n, v in text_arrays("names", pa.array(files.names)).items()}
        new |= {f"{table}.{n}": getattr(files, n) for n in ("size", "change", "latest")}
    stored = pack(home, f"{folder}/state.bin", new)
    # What later states go on using lies in files of its own.
    if held.registry is None:
        known = {f"registry.{name}": values for name, values in state.registry.arrays().items()}
        stored |= pack(home, f"{folder}/registry.bin", known)
    for k, segment in enumerate(state.segments):
        if k >= len(held.segments) or held.segments[k] is None:
            counted = {f"segment-{k}.{name}": getattr(segment.fills, name) for name in FILLS}
            counted |= {f"segment-{k}.day_{name}": getattr(segment.days, name) for name in DAYS}
            stored |= pack(home, f"{folder}/segment-{k}.bin", counted)
    sync_folder(home / folder)

    def part(name: str) -> dict[str, Stored]:
        start = f"{name}."
        return {n.removeprefix(start): at for n, at in stored.items() if n.startswith(start)}

    now = Held(
        held.registry or part("registry"),
        tuple(
            (held.segments[k] if k < len(held.segments) else None) or part(f"segment-{k}")
            for k in range(len(state.segments))
        ),
    )
    parts: dict[str, Any] = {name: part(name) for name in ("tallies", "trades", "accounts")}
    document = {
        "definitions": definitions_sha256(),
        "lake": _lake_sha256(state.root),
        "session": state.session.isoformat(),
        "t": state.tallies.t,
        "cut": state.cut,
        "calendar": state.calendar,
        "nights": [segment.nights for segment in state.segments],
        "segments": [_listed(one or {}) for one in now.segments],
        "registry": _listed(now.registry or {}),
        **{name: _listed(found) for name, found in parts.items()},
    }
    path = home / f"{state.session}.json"
    write_atomically(path, orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    _remove_unnamed(home, path)
    return replace(state, held=now)


def _listed(stored: dict[str, Stored]) -> dict[str, list[Any]]:
    return {name: where.as_list() for name, where in stored.items()}


def _remove_unnamed(home: Path, written: Path) -> None:
    """Remove the oldest descriptions, and files that none names: replaced, or never finished."""
    for old in sorted(home.glob("*.json"))[:-STATES_KEPT]:
        if old != written:
            old.unlink()
    named: set[str] = set()
    for path in home.glob("*.json"):
        try:
            document = orjson.loads(path.read_bytes())
            parts = [document[n] for n in ("registry", "tallies", "trades", "accounts")]
            parts += document["segments"]
        except (orjson.JSONDecodeError, KeyError):
            return  # nobody knows what a damaged description named; nothing is removed
        named |= {where[0] for part in parts for where in part.values()}
    folders = {name.split("/")[0] for name in named}
    for folder in [path for path in home.iterdir() if path.is_dir()]:
        if folder.name not in folders:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        for path in folder.iterdir():
            if f"{folder.name}/{path.name}" not in named:
                path.unlink()


def read_state(root: Path, session: dt.date) -> State:
    """The state that the build of a session left.

    Raises
    ------
    InputError
        If there is none, it is damaged, it is another lake's, or its sums mean something else.
    """
    home = root / FOLDER
    path = home / f"{session}.json"
    if not path.is_file():
        raise InputError(f"{root} has no feature state of {session}; {WAY_OUT}, which writes one")
    try:
        document = orjson.loads(path.read_bytes())
        meant, lake = document["definitions"], document["lake"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise InputError(f"{path} is damaged; {WAY_OUT}") from None
    if meant != definitions_sha256():
        raise InputError(f"{path} was written by another version; {WAY_OUT}")
    if lake != _lake_sha256(root):
        raise InputError(f"{path} is the state of another lake; {WAY_OUT}")

    def found(part: dict[str, list[Any]]) -> dict[str, Stored]:
        return {name: Stored.of_list(where) for name, where in part.items()}

    def files(part: dict[str, list[Any]]) -> Files:
        got = {name: where.read(home) for name, where in found(part).items()}
        names = texts_of(got["names_edges"], got["names_bytes"])
        return Files(tuple(names.to_pylist()), got["size"], got["change"], got["latest"])

    held = Held(found(document["registry"]), tuple(found(part) for part in document["segments"]))
    segments = [
        Segment.read(home, where or {}, nights)
        for where, nights in zip(held.segments, document["nights"], strict=True)
    ]
    sums = {name: where.load(home) for name, where in found(document["tallies"]).items()}
    return State(
        root=root,
        session=session,
        cut=document["cut"],
        calendar=document["calendar"],
        trades=files(document["trades"]),
        accounts=files(document["accounts"]),
        registry=Registry.read(home, held.registry or {}),
        tallies=Tallies(document["t"], sums["sums"], sums["decayed"], sums["last"]),
        segments=tuple(segments),
        held=held,
    )
