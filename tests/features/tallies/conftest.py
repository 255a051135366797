"""Small lakes written night by night, shared by the tests of tallies."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.lake import LakeInfo, create_lake, to_arrow, write_parquet, write_shared
from data_contracts.tables import TABLES
from data_contracts.units import NULL
from features.panel import PricePanel
from features.tallies.full import LakeTallies

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def arrow(name: str, rows: list[Row]) -> pa.Table:
    columns: dict[str, Any] = {}
    for c in TABLES[name].columns:
        values: Any = [row[c.name] for row in rows]
        if pa.types.is_decimal(c.arrow_type):
            values = np.array([NULL if v is None else v for v in values], dtype=np.int64)
        columns[c.name] = values
    return to_arrow(TABLES[name], columns)


def write_market(root: Path, panel: PricePanel, buckets: int) -> None:
    create_lake(root, LakeInfo("CNY", panel.mic, buckets, "test"))
    days: list[dt.date] = panel.sessions.tolist()
    opening = [dt.datetime.combine(d, dt.time(1, 30), tzinfo=dt.UTC) for d in days]
    closing = [dt.datetime.combine(d, dt.time(7), tzinfo=dt.UTC) for d in days]
    write_shared(root, "sessions", {
        "mic": [panel.mic] * len(days), "session": days, "open_at": opening,
        "close_at": closing, "event_at": opening, "known_at": opening,
    })  # fmt: skip
    count = len(panel.symbols)
    nothing = {
        n: [None] * count
        for n in ("price_limit_ratio", "collateral_haircut_ratio", "listed_on", "industry",
                  "float_shares")
    }  # fmt: skip
    nothing["price_limit_ratio"] = nothing["collateral_haircut_ratio"] = np.full(count, NULL)  # type: ignore[assignment]
    write_shared(root, "instruments", nothing | {
        "symbol": list(panel.symbols), "mic": [panel.mic] * count, "session": days[:1] * count,
        "board": ["main"] * count, "currency": ["CNY"] * count,
        "margin_eligible": [True] * count, "collateral_eligible": [True] * count,
        "is_special_treatment": [False] * count, "event_at": opening[:1] * count,
        "known_at": opening[:1] * count,
    })  # fmt: skip


BUCKET = {"c1": 0, "c2": 1, "c3": 0, "c4": 1, "c5": 0}


class Deliveries:
    """A lake of two buckets that is written as its rows become known, one part a night.

    Trades whose position is ``withheld`` arrive with the part after the one they belong to, in a
    file whose name sorts before all others, and still say that they were known in time.
    """

    BUCKET = BUCKET
    arrow = staticmethod(arrow)

    def __init__(
        self, root: Path, panel: PricePanel, rows: Rows, withheld: frozenset[int] = frozenset()
    ) -> None:
        self.root, self.panel, self.rows = root, panel, rows
        self.withheld, self.due = withheld, list[Row]()
        self.part, self.known = 0, dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
        write_market(root, panel, 2)

    def until(self, t: int | None) -> None:
        """Deliver what becomes known by a session's cut-off; all that is left for None."""
        end = dt.datetime.combine(dt.date(2100, 1, 1), dt.time(), tzinfo=dt.UTC)
        if t is not None:
            day = self.panel.sessions[t].item()
            end = dt.datetime.combine(day, dt.time(10), tzinfo=dt.UTC)
        for name in ("accounts", "trades"):
            for bucket in (0, 1):
                mine = [
                    r
                    for k, r in enumerate(self.rows[name])
                    if self.known < r["known_at"] <= end
                    and BUCKET[r["client_id"]] == bucket
                    and not (name == "trades" and k in self.withheld)
                ]
                folder = self.root / name / f"bucket={bucket:03d}"
                if mine or self.part == 0:
                    write_parquet(folder / f"part-{self.part:03d}.parquet", arrow(name, mine))
        for bucket in (0, 1):
            mine = [r for r in self.due if BUCKET[r["client_id"]] == bucket]
            if mine:
                path = self.root / "trades" / f"bucket={bucket:03d}" / f"a-{-self.part % 100:02d}"
                write_parquet(path.with_suffix(".parquet"), arrow("trades", mine))
        chosen = (self.rows["trades"][k] for k in sorted(self.withheld))
        self.due = [r for r in chosen if self.known < r["known_at"] <= end]
        self.part, self.known = self.part + 1, end


def assert_same(a: LakeTallies, b: LakeTallies) -> None:
    """Equal bit for bit, the decaying mean too."""
    assert a.client_ids.to_pylist() == b.client_ids.to_pylist()
    for name in ("sums", "last", "decayed"):
        mine, theirs = getattr(a.tallies, name), getattr(b.tallies, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=f"{name} of {a.client_ids.to_pylist()}")


@pytest.fixture(scope="session")
def deliveries() -> type[Deliveries]:
    """A lake that is written night by night; see ``Deliveries``."""
    return Deliveries


@pytest.fixture(scope="session")
def same() -> Callable[[LakeTallies, LakeTallies], None]:
    """Asserts that two builds are equal bit for bit."""
    return assert_same
