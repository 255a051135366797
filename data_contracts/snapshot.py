"""The market snapshot: one hashed, immutable folder with all a decision knows of the market."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import write_atomically
from data_contracts.units import NULL, BoolArray, IntArray

SNAPSHOT_FORMAT: Final = 4
_FORMAT_WITHOUT_TAIL: Final = 3
"""A snapshot without the firm's tail is written as it always was."""
_INTEGER_COLUMNS: Final = (
    "price", "price_limit", "haircut", "security_margin", "gap_loss", "expected_sale_shares",
    "financing_ratio", "damped_margin",
)  # fmt: skip
PATHS_FILE: Final = "paths.npz"
_FLAG_COLUMNS: Final = ("margin_eligible", "collateral_eligible", "special_treatment", "suspended")


SUSPENDED: Final = int(np.iinfo(np.int32).min)
"""Stands in ``ScenarioPaths.moves`` for a day on which a name did not trade."""
_PATH_ARRAYS: Final = ("moves", "limit", "days", "weight", "stress_weight")
_TAIL_ARRAY: Final = "tail_weight"
_RISE: Final = "year_rise"


@dataclass(frozen=True)
class ScenarioPaths:
    """The night's common scenario set: joint paths that every client's book is followed along.

    Attributes
    ----------
    moves : int32 in 1e-6, shape (N, D): each name's rescaled move on each day of the window,
        ``SUSPENDED`` where it did not trade
    limit : int64 in 1e-6, shape (N,): most that a name moves in a session
    days : int32, shape (P, H): which day of the window each session of each path takes
    weight, stress_weight : int64 in 1e-6, shape (P,): likelihood ratio of each path, and its weight
        among the paths of the worst markets; both 1 in the mean
    year_rise : the market's rise over the year before, 1e-6, ``NULL`` where that is not known
    """

    moves: npt.NDArray[np.int32]
    limit: IntArray
    days: npt.NDArray[np.int32]
    weight: IntArray
    stress_weight: IntArray
    year_rise: int = NULL

    def __post_init__(self) -> None:
        if self.moves.ndim != 2 or self.days.ndim != 2 or 0 in self.days.shape:
            raise InputError("a scenario set has moves of names by days, and days of paths")
        n, window = self.moves.shape
        paths = len(self.days)
        if self.limit.shape != (n,):
            raise InputError(f"the scenario set has {n} names but limits of {self.limit.shape}")
        if self.weight.shape != (paths,) or self.stress_weight.shape != (paths,):
            raise InputError(f"the scenario set has not one weight for each of {paths} paths")
        if int(self.days.min()) < 0 or int(self.days.max()) >= window:
            raise InputError(f"the scenario set takes days outside its window of {window}")
        if min(int(self.weight.min()), int(self.stress_weight.min())) < 0:
            raise InputError("a path of the scenario set has a negative weight")

    @property
    def paths(self) -> int:
        """Number of paths."""
        return len(self.days)

    @property
    def sessions(self) -> int:
        """Length of a path."""
        return int(self.days.shape[1])

    @cached_property
    def sha256(self) -> str:
        """Hash of every array."""
        shape = f"{self.moves.shape} {self.days.shape}".encode()
        parts = [np.ascontiguousarray(getattr(self, n)).tobytes() for n in _PATH_ARRAYS]
        if self.year_rise != NULL:
            parts.append(str(self.year_rise).encode())
        return sha256_hex(b"".join(hashlib.sha256(p).digest() for p in (shape, *parts)))


@dataclass(frozen=True)
class MarketSnapshot:
    """Prices, security margins, scenarios and book-level terms of one session.

    Attributes
    ----------
    session : the session whose close is priced
    symbols : N symbols, ascending
    price : int64 in 0.0001, last close; ``NULL`` where there is none: worthless as collateral
    price_limit, haircut : int64 in 1e-6, ``NULL`` for none or unknown
    security_margin : int64 in 1e-6, share of a holding's value that must be equity
    gap_loss : int64 in 1e-6, loss of value over the time a forced sale takes, in a stress
    expected_sale_shares : int64, the firm's expected forced sale in the name, ``NULL`` if unknown
    scenarios : int32 in 1e-6, shape (S, N): joint returns over the liquidation horizon
    funding_bps : funding cost of the session
    net_capital_amt, headroom_amt : the firm's capital and what is left of its quota, minor units
    utilisation : int, share of the quota drawn, 1e-6
    tier_shift_bps : seven integers, never falling from tier 1 to 7, found in the night's first pass
    financing_ratio : int64 in 1e-6, margin debt of all lenders in a name over its tradable value,
        ``NULL`` if unknown; left out, it is unknown for every name
    damped_margin : int64 in 1e-6, what a call, its deadline and the sale may cost, which the next
        night's anti-procyclical layer goes on from; ``NULL`` if unknown, as is what is left out
    paths : the night's scenario set; None where the policy asks for none
    tail_weight : int64 in 1e-6, shape (P,): weight of each path in the firm's tail, which capital
        is allocated on, 0 outside it; None where no firm's losses were followed along the paths
    """

    session: dt.date
    mic: str
    currency: str
    symbols: tuple[str, ...]
    board: tuple[str, ...]
    price: IntArray
    price_limit: IntArray
    haircut: IntArray
    security_margin: IntArray
    gap_loss: IntArray
    expected_sale_shares: IntArray
    margin_eligible: BoolArray
    collateral_eligible: BoolArray
    special_treatment: BoolArray
    suspended: BoolArray
    scenarios: npt.NDArray[np.int32]
    funding_bps: int
    net_capital_amt: int
    headroom_amt: int
    utilisation: int
    tier_shift_bps: tuple[int, ...]
    financing_ratio: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    damped_margin: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    paths: ScenarioPaths | None = None
    tail_weight: IntArray | None = None

    def __post_init__(self) -> None:
        n = len(self.symbols)
        if self.tail_weight is not None:
            self._check_tail(self.tail_weight)
        for name in ("financing_ratio", "damped_margin"):
            if n and getattr(self, name).shape == (0,):
                object.__setattr__(self, name, np.full(n, NULL, dtype=np.int64))
        if self.paths is not None and len(self.paths.moves) != n:
            raise InputError(f"the scenario set has {len(self.paths.moves)} names, not {n}")
        if list(self.symbols) != sorted(set(self.symbols)):
            raise InputError("the snapshot's symbols are not ascending and unique")
        for name in (*_INTEGER_COLUMNS, *_FLAG_COLUMNS):
            if getattr(self, name).shape != (n,):
                raise InputError(
                    f"snapshot column {name} has not one value for each of {n} symbols"
                )
        if self.scenarios.ndim != 2 or self.scenarios.shape[1] != n:
            raise InputError(f"the scenarios have shape {self.scenarios.shape}, not (S, {n})")
        shifts = self.tier_shift_bps
        if len(shifts) != 7 or any(a > b for a, b in pairwise(shifts)):
            raise InputError(f"tier_shift_bps must be seven numbers that never fall, not {shifts}")

    def _check_tail(self, weight: IntArray) -> None:
        count = 0 if self.paths is None else self.paths.paths
        if weight.shape != (count,):
            raise InputError(f"the firm's tail has not one weight for each of {count} paths")
        if count == 0 or int(weight.min()) < 0 or int(weight.max()) == 0:
            raise InputError("the firm's tail has a negative weight, or none that is not 0")

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each symbol."""
        return {s: k for k, s in enumerate(self.symbols)}

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The snapshot's data files; ``market.json`` holds their hashes."""
        columns: dict[str, pa.Array] = {
            "symbol": pa.array(self.symbols, type=pa.string()),
            "board": pa.array(self.board, type=pa.string()),
        }
        for name in _INTEGER_COLUMNS:
            values = getattr(self, name)
            columns[name] = pa.array(np.where(values == NULL, 0, values), mask=values == NULL)
        for name in _FLAG_COLUMNS:
            columns[name] = pa.array(getattr(self, name))
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink, compression="zstd", compression_level=1)
        scenarios = io.BytesIO()
        np.save(scenarios, np.ascontiguousarray(self.scenarios), allow_pickle=False)
        made = {"securities.parquet": sink.getvalue(), "scenarios.npy": scenarios.getvalue()}
        if self.paths is not None:
            kept = {n: np.ascontiguousarray(getattr(self.paths, n)) for n in _PATH_ARRAYS}
            kept[_RISE] = np.array(self.paths.year_rise, dtype=np.int64)
            if self.tail_weight is not None:
                kept[_TAIL_ARRAY] = np.ascontiguousarray(self.tail_weight)
            paths = io.BytesIO()
            np.savez(paths, allow_pickle=False, **kept)
            made[PATHS_FILE] = paths.getvalue()
        return made

    @cached_property
    def manifest(self) -> bytes:
        """``market.json``: the scalars and a content hash of every array, in canonical form.

        The hashes are over the values, not over Parquet bytes, so that another library version
        that packs the same values differently still gives the same snapshot.
        """
        content = {
            name: sha256_hex(np.ascontiguousarray(getattr(self, name)).tobytes())
            for name in (*_INTEGER_COLUMNS, *_FLAG_COLUMNS, "scenarios")
        }
        tail = self.tail_weight
        return canonical_bytes(
            {
                "format": _FORMAT_WITHOUT_TAIL if tail is None else SNAPSHOT_FORMAT,
                "session": self.session.isoformat(),
                "mic": self.mic,
                "currency": self.currency,
                "symbols_sha256": sha256_hex("\n".join(self.symbols).encode()),
                "boards_sha256": sha256_hex("\n".join(self.board).encode()),
                "content_sha256": content,
                "paths_sha256": None if self.paths is None else self.paths.sha256,
                **(
                    {}
                    if tail is None
                    else {
                        "capital_tail": {
                            "source": "firm",
                            "paths": int((tail > 0).sum()),
                            "weight_sha256": sha256_hex(
                                np.ascontiguousarray(tail, dtype="<i8").tobytes()
                            ),
                        }
                    }
                ),
                "funding_bps": self.funding_bps,
                "net_capital_amt": str(self.net_capital_amt),
                "headroom_amt": str(self.headroom_amt),
                "utilisation": self.utilisation,
                "tier_shift_bps": list(self.tier_shift_bps),
            }
        )

    @cached_property
    def sha256(self) -> str:
        """The hash that every decision on this snapshot carries."""
        return sha256_hex(self.manifest)

    def write(self, folder: Path) -> None:
        """Write the folder; ``market.json`` last, so that a half-written one is no snapshot."""
        for name, data in self.files.items():
            write_atomically(folder / name, data)
        write_atomically(folder / "market.json", self.manifest)

    @staticmethod
    def read(folder: Path, *, verify: bool = True) -> MarketSnapshot:
        """Read a snapshot folder.

        Raises
        ------
        InputError
            If it is no snapshot or, with ``verify``, if its arrays are not those that were hashed.
        """
        path = folder / "market.json"
        if not path.is_file():
            raise InputError(f"{folder} is not a market snapshot: it has no market.json")
        try:
            m = orjson.loads(path.read_bytes())
            stated = m["format"]
            if stated not in (_FORMAT_WITHOUT_TAIL, SNAPSHOT_FORMAT):
                raise InputError(
                    f"{folder}: the market snapshot has format {stated}; this version reads formats"
                    f" {_FORMAT_WITHOUT_TAIL} and {SNAPSHOT_FORMAT}"
                )
            table = pq.read_table(folder / "securities.parquet")
            scenarios = np.load(folder / "scenarios.npy", allow_pickle=False)
            paths = tail = None
            if m["paths_sha256"] is not None:
                with np.load(folder / PATHS_FILE, allow_pickle=False) as kept:
                    rise = int(kept[_RISE]) if _RISE in kept.files else NULL
                    arrays = {n: kept[n] for n in _PATH_ARRAYS}
                    paths = ScenarioPaths(**arrays, year_rise=rise)
                    tail = kept[_TAIL_ARRAY] if stated == SNAPSHOT_FORMAT else None
            made = _assemble(m, table, scenarios, paths, tail)
        except InputError:
            raise
        except KeyError as error:
            raise InputError(
                f"{folder}: the market snapshot is damaged: {error} is missing"
            ) from None
        except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{folder}: the market snapshot is damaged: {error}") from None
        if verify and made.manifest != path.read_bytes():
            raise InputError(
                f"{folder}: the snapshot's arrays are not the ones market.json was made from;"
                " restore the folder or make the snapshot again"
            )
        return made


def _assemble(
    m: Any,
    table: pa.Table,
    scenarios: npt.NDArray[np.int32],
    paths: ScenarioPaths | None,
    tail: IntArray | None,
) -> MarketSnapshot:
    columns: dict[str, IntArray] = {
        n: np.asarray(table[n].fill_null(NULL)).astype(np.int64) for n in _INTEGER_COLUMNS
    }
    flags: dict[str, BoolArray] = {n: np.asarray(table[n]).astype(bool) for n in _FLAG_COLUMNS}
    return MarketSnapshot(
        session=dt.date.fromisoformat(m["session"]),
        mic=m["mic"],
        currency=m["currency"],
        symbols=tuple(table["symbol"].to_pylist()),
        board=tuple(table["board"].to_pylist()),
        price=columns["price"],
        price_limit=columns["price_limit"],
        haircut=columns["haircut"],
        security_margin=columns["security_margin"],
        gap_loss=columns["gap_loss"],
        expected_sale_shares=columns["expected_sale_shares"],
        financing_ratio=columns["financing_ratio"],
        damped_margin=columns["damped_margin"],
        margin_eligible=flags["margin_eligible"],
        collateral_eligible=flags["collateral_eligible"],
        special_treatment=flags["special_treatment"],
        suspended=flags["suspended"],
        scenarios=scenarios,
        funding_bps=m["funding_bps"],
        net_capital_amt=int(m["net_capital_amt"]),
        headroom_amt=int(m["headroom_amt"]),
        utilisation=m["utilisation"],
        tier_shift_bps=tuple(m["tier_shift_bps"]),
        paths=paths,
        tail_weight=tail,
    )
