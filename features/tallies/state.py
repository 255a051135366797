"""The state that a night leaves for the next: every client's sums, and what will leave a window.

``LAKE/feature-state/SESSION/`` holds one night. Large arrays are written once by a full build
(``base``); each later night adds a small file of days and of trade numbers and names the files it
builds on, so that any night whose folder is left can be gone on from. ``state.json`` is written
last: a folder without it is no state.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.feather as feather

from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from data_contracts.units import BoolArray, IntArray
from features.panel import DateArray
from features.tallies.full import BucketTallies, Calendar, LakeTallies
from features.tallies.kernel import DECAY, SUM_COLUMNS, WINDOWS
from features.tallies.values import Tallies

FOLDER: Final = "feature-state"
FORMAT: Final = 1
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class AccountState:
    """Accounts as known: number, client code, opening and closing day (``NaT`` while open)."""

    account_ids: pa.Array
    client: IntArray
    opened_on: DateArray
    closed_on: DateArray

    def listed(self, day: np.datetime64, clients: int) -> BoolArray:
        """Clients with an account that is open on a day."""
        out = np.zeros(clients, dtype=bool)
        out[self.client[(self.opened_on <= day) & ~(self.closed_on <= day)]] = True
        return out


@dataclass(frozen=True)
class Night:
    """Days and trade numbers that one night added; days may take away what was counted before.

    ``count`` is 1 for a session's sums, -1 where those that were counted before are taken away.
    """

    client: Array
    session: Array
    numbers: IntArray
    count: Array
    ids: Array
    id_bucket: Array


@dataclass(frozen=True)
class State:
    """Everything a night needs to know about the nights before.

    Attributes
    ----------
    calendar : SHA-256 of the sessions up to this one
    files : of each trade and account file that is wholly counted, its size and time of change
    client_ids, bucket : by client code; codes never change from night to night
    shared : accounts that share a trade with another, which are always read together
    base : folder of the large arrays; ``nights`` the files added since, oldest first
    """

    root: Path
    session: dt.date
    cut: int
    calendar: str
    files: dict[str, tuple[int, int]]
    client_ids: pa.Array
    bucket: IntArray
    accounts: AccountState
    shared: pa.Array
    tallies: Tallies
    base: str
    nights: tuple[str, ...]

    def leaving(self, sessions: range) -> list[tuple[Array, IntArray, Array]]:
        """Client, sums and count of the rows of some sessions."""
        out = []
        folder = self.root / FOLDER / self.base
        edges = np.load(folder / "day_edges.npy")
        client = np.load(folder / "day_client.npy", mmap_mode="r")
        numbers = np.load(folder / "day_numbers.npy", mmap_mode="r")
        for s in sessions:
            if not 0 <= s < edges.shape[1] - 1:
                continue
            for low, high in zip(edges[:, s], edges[:, s + 1], strict=True):
                if high > low:
                    one = np.ones(high - low, dtype=np.int8)
                    out.append((client[low:high], numbers[low:high], one))
        for name in self.nights:
            night = np.load(self.root / FOLDER / name / "night.npz")
            rows = np.isin(night["session"], np.arange(sessions.start, sessions.stop))
            if rows.any():
                out.append((night["client"][rows], night["numbers"][rows], night["count"][rows]))
        return out

    def seen(self, ids: Array, bucket: IntArray) -> BoolArray:
        """Which trade numbers, by hash and bucket, were read before."""
        folder = self.root / FOLDER / self.base
        edges = np.load(folder / "id_edges.npy")
        base = np.load(folder / "ids.npy", mmap_mode="r")
        out = np.zeros(len(ids), dtype=bool)
        for number in np.unique(bucket).tolist():
            mine = np.flatnonzero(bucket == number)
            known = base[edges[number] : edges[number + 1]]
            if len(known):
                place = np.minimum(np.searchsorted(known, ids[mine]), len(known) - 1)
                out[mine] = known[place] == ids[mine]
        for name in self.nights:
            out |= np.isin(ids, np.load(self.root / FOLDER / name / "night.npz")["ids"])
        return out

    def lake_tallies(self, calendar: Calendar) -> LakeTallies:
        """The listed clients, by bucket then client number."""
        day = calendar.sessions[calendar.t]
        rows = np.flatnonzero(self.accounts.listed(day, len(self.client_ids)))
        if bool(np.any(np.diff(self.bucket) < 0)):  # clients that came after the base
            order = pa.table({"b": self.bucket[rows], "c": self.client_ids.take(pa.array(rows))})
            indices = order.sort_by([("b", "ascending"), ("c", "ascending")])
            place = pa.compute.index_in(indices["c"], value_set=order["c"])
            rows = rows[np.asarray(place)]
        if len(rows) == len(self.client_ids) and bool(np.all(rows == np.arange(len(rows)))):
            return LakeTallies(self.session, self.client_ids, self.tallies)
        taken = self.client_ids.take(pa.array(rows))
        return LakeTallies(self.session, taken, self.tallies.take(rows))


def stamp(root: Path, path: Path) -> tuple[str, tuple[int, int]]:
    """A file's name within the lake, and its size and time of change."""
    found = path.stat()
    return str(path.relative_to(root)), (found.st_size, found.st_mtime_ns)


def layout() -> dict[str, Any]:
    """What the sums mean; a state with another layout is not gone on from."""
    return {
        "format": FORMAT,
        "windows": list(WINDOWS),
        "columns": list(SUM_COLUMNS),
        "decay": repr(DECAY),
    }


def write_base(
    root: Path, session: dt.date, parts: list[BucketTallies], sessions: int
) -> tuple[pa.Array, IntArray, AccountState, Tallies]:
    """Write the large arrays of a full build; answers what the small ones are made of."""
    folder = root / FOLDER / session.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    starts = np.cumsum([0] + [len(p.accounts.clients) for p in parts])
    days = [p.days for p in parts if p.days is not None]
    lengths = [len(d.client) for d in days]
    total = int(np.sum(lengths))
    edges = np.zeros((len(parts), sessions + 1), dtype=np.int64)
    client = np.lib.format.open_memmap(
        folder / "day_client.npy", mode="w+", dtype=np.int32, shape=(max(total, 1),)
    )
    numbers = np.lib.format.open_memmap(
        folder / "day_numbers.npy", mode="w+", dtype=np.int64,
        shape=(max(total, 1), days[0].numbers.shape[1]),
    )  # fmt: skip
    at = 0
    for k, day in enumerate(days):
        order = np.argsort(day.session, kind="stable")
        edges[k] = at + np.searchsorted(day.session[order], np.arange(sessions + 1))
        client[at : at + lengths[k]] = day.client[order] + starts[k]
        numbers[at : at + lengths[k]] = day.numbers[order]
        at += lengths[k]
    client.flush()
    numbers.flush()
    np.save(folder / "day_edges.npy", edges)
    ids = [p.ids for p in parts if p.ids is not None]
    np.save(folder / "ids.npy", np.concatenate(ids))
    np.save(folder / "id_edges.npy", np.cumsum([0] + [len(i) for i in ids]))
    bucket = np.repeat(np.arange(len(parts)), np.diff(starts)).astype(np.int64)
    held = [(p.accounts, p.accounts.current) for p in parts]
    accounts = AccountState(
        pa.concat_arrays([a.accounts.take(pa.array(a.rows.account[c])) for a, c in held]),
        np.concatenate([a.rows.client[c] + starts[k] for k, (a, c) in enumerate(held)]),
        np.concatenate([a.rows.opened_on[c] for a, c in held]),
        np.concatenate([a.rows.closed_on[c] for a, c in held]),
    )
    tallies = Tallies(
        parts[0].tallies.t,
        np.concatenate([p.tallies.sums for p in parts]),
        np.concatenate([p.tallies.decayed for p in parts]),
        np.concatenate([p.tallies.last for p in parts]),
    )
    clients = pa.concat_arrays([p.accounts.clients for p in parts])
    return clients, bucket, accounts, tallies


def write_state(state: State, night: Night | None) -> None:
    """Write a night's folder; ``state.json`` comes last and makes it valid."""
    folder = state.root / FOLDER / state.session.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").unlink(missing_ok=True)
    if night is not None:
        np.savez(folder / "night.npz", **vars(night))
    a, plain = state.accounts, {"compression": "uncompressed"}
    feather.write_feather(
        pa.table({"client_id": state.client_ids, "bucket": state.bucket}),
        folder / "clients.arrow", **plain,
    )  # fmt: skip
    feather.write_feather(
        pa.table(
            {
                "account_id": a.account_ids,
                "client": a.client,
                "opened_on": a.opened_on.astype(np.int64),
                "closed_on": a.closed_on.astype(np.int64),
            }
        ),
        folder / "accounts.arrow", **plain,
    )  # fmt: skip
    for name in ("sums", "decayed", "last"):
        np.save(folder / f"{name}.npy", getattr(state.tallies, name))
    document = layout() | {
        "session": state.session.isoformat(),
        "t": state.tallies.t,
        "cut": state.cut,
        "calendar": state.calendar,
        "base": state.base,
        "nights": list(state.nights),
        "shared": state.shared.to_pylist(),
        "files": {name: list(found) for name, found in state.files.items()},
    }
    write_atomically(folder / "state.json", orjson.dumps(document, option=orjson.OPT_SORT_KEYS))


def read_state(root: Path, session: dt.date) -> State:
    """The state that the night of a session left.

    Raises
    ------
    InputError
        If there is none, or it was written by a version that sums otherwise.
    """
    folder = root / FOLDER / session.isoformat()
    if not (folder / "state.json").is_file():
        raise InputError(
            f"{root} has no feature state of {session}; leave --since out for a full build,"
            " which writes one"
        )
    document = orjson.loads((folder / "state.json").read_bytes())
    if any(document.get(name) != value for name, value in layout().items()):
        raise InputError(
            f"{folder} was written by another version; leave --since out for a full build"
        )
    clients = feather.read_table(folder / "clients.arrow", memory_map=True)
    accounts = feather.read_table(folder / "accounts.arrow", memory_map=True)
    return State(
        root=root,
        session=session,
        cut=document["cut"],
        calendar=document["calendar"],
        files={name: (size, changed) for name, (size, changed) in document["files"].items()},
        client_ids=clients["client_id"].combine_chunks(),
        bucket=np.asarray(clients["bucket"]),
        accounts=AccountState(
            accounts["account_id"].combine_chunks(),
            np.asarray(accounts["client"]),
            np.asarray(accounts["opened_on"]).astype("datetime64[D]"),
            np.asarray(accounts["closed_on"]).astype("datetime64[D]"),
        ),
        shared=pa.array(document["shared"], pa.string()),
        tallies=Tallies(
            document["t"],
            np.load(folder / "sums.npy"),
            np.load(folder / "decayed.npy"),
            np.load(folder / "last.npy"),
        ),
        base=document["base"],
        nights=tuple(document["nights"]),
    )
