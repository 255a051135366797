"""Tallies: full, nightly and in a book, equal to plain sums over rows whatever arrives late."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.lake import LakeInfo, create_lake, to_arrow, write_parquet, write_shared
from data_contracts.tables import TABLES
from data_contracts.units import NULL
from features.asof import BookHistory
from features.build import build_frame
from features.flow_frame import flow_frame
from features.panel import PricePanel
from features.sets import FLOWS
from features.tallies.full import LakeTallies, tally_lake
from features.tallies.kernel import DECAY, SUM_COLUMNS, WINDOWS
from features.tallies.nightly import advance, build_with_state
from features.tallies.state import FOLDER

Row = dict[str, Any]
Rows = dict[str, list[Row]]
NIGHTS = (30, 45, 46, 47, 60, 80, 89)


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
    """A lake of two buckets that is written as its rows become known, one part a night."""

    def __init__(self, root: Path, panel: PricePanel, rows: Rows) -> None:
        self.root, self.panel, self.rows = root, panel, rows
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
                    for r in self.rows[name]
                    if self.known < r["known_at"] <= end and BUCKET[r["client_id"]] == bucket
                ]
                folder = self.root / name / f"bucket={bucket:03d}"
                if mine or self.part == 0:
                    write_parquet(folder / f"part-{self.part:03d}.parquet", arrow(name, mine))
        self.part, self.known = self.part + 1, end


def assert_same(a: LakeTallies, b: LakeTallies) -> None:
    """Equal bit for bit, the decaying mean too."""
    assert a.client_ids.to_pylist() == b.client_ids.to_pylist()
    for name in ("sums", "last", "decayed"):
        mine, theirs = getattr(a.tallies, name), getattr(b.tallies, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=f"{name} of {a.client_ids.to_pylist()}")


def with_versions(rows: Rows, data: st.DataObject) -> Rows:
    """Some fills corrected, moved to another session or account, or delivered again."""
    out = {name: list(table) for name, table in rows.items()}
    trades = rows["trades"]
    for number in data.draw(st.lists(st.integers(0, len(trades) - 1), max_size=12)):
        row = dict(trades[number])
        act = data.draw(st.sampled_from(("again", "quantity", "side", "session", "account")))
        days = data.draw(st.integers(1, 40))
        row["known_at"] = row["known_at"] + dt.timedelta(days=days, microseconds=number)
        if act == "quantity":
            row["quantity_shares"] += 100
        elif act == "side":
            row["side"] = "sell" if row["side"] == "buy" else "buy"
        elif act == "session":
            row["event_at"] = row["executed_at"] = row["event_at"] + dt.timedelta(days=days % 9)
        elif act == "account" and row["client_id"] in ("c1", "c3"):
            row["account_id"], row["client_id"] = ("a1", "c1") if row["client_id"] == "c3" else (
                "a3", "c3")  # fmt: skip
        out["trades"].append(row)
    return out


def plain(p: Any, client: str) -> tuple[list[list[int]], float]:
    """Sums by window and the decaying mean, by loops over rows."""
    sums, mean = [], 0.0
    fills = p.trades(client, 10_000)
    for window in WINDOWS:
        row = [0] * 6
        for s in range(max(p.t - window + 1, 0), p.t + 1):
            mine = [x for session, x in fills if session == s]
            row[5] += bool(mine)
            names: dict[tuple[str, str], list[int]] = {}
            for x in mine:
                value = x["quantity_shares"] * x["price"]
                both = names.setdefault((x["account_id"], x["symbol"]), [0, 0])
                both[x["side"] == "sell"] += value
                row[0] += 1
                row[1 + (x["side"] == "sell")] += value
                row[3] += value if x["financed"] and x["side"] == "buy" else 0
            row[4] += sum(min(both) for both in names.values())
        sums.append(row)
    for s, x in fills:
        mean += x["quantity_shares"] * x["price"] * DECAY ** (p.t - s) * (1 - DECAY)
    return sums, mean


@pytest.mark.parametrize("seed", [1, 2])
def test_tallies_equal_plain_sums_over_rows(
    seed: int,
    panel: PricePanel,
    plain_reading: Callable[[Rows, PricePanel, int], Any],
    random_rows: Callable[[int], Rows],
    tmp_path: Path,
) -> None:
    rows = random_rows(seed)
    Deliveries(tmp_path, panel, rows).until(None)
    for t in (12, 45, 89):
        got = tally_lake(tmp_path, panel.sessions[t].item())
        reading = plain_reading(rows, panel, t)
        assert sorted(got.client_ids.to_pylist()) == reading.clients
        for k, client in enumerate(got.client_ids.to_pylist()):
            sums, mean = plain(reading, client)
            assert got.tallies.sums[k].tolist() == sums, f"{client} at {t}, {SUM_COLUMNS}"
            assert got.tallies.mean_traded()[k] == pytest.approx(mean, rel=1e-12)


# No shrinking: an example is a lake built seven times over.
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
@given(data=st.data(), seed=st.integers(0, 5))
def test_nightly_equals_full_after_late_corrected_and_repeated_fills(
    data: st.DataObject,
    seed: int,
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("lake")
    lake = Deliveries(root, panel, with_versions(random_rows(seed), data))
    by_parts = data.draw(st.booleans())
    lake.until(NIGHTS[0] if by_parts else None)
    days = [panel.sessions[t].item() for t in NIGHTS]
    build_with_state(root, days[0], threads=2)
    for before, day, t in zip(days, days[1:], NIGHTS[1:], strict=False):
        if by_parts:
            lake.until(t)
        threads = data.draw(st.sampled_from((1, 2, 4)))
        assert_same(advance(root, day, before, threads).lake, tally_lake(root, day, threads))


def test_the_flow_set_is_the_same_from_a_lake_and_from_its_books(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path
) -> None:
    rows = random_rows(3)
    Deliveries(tmp_path, panel, rows).until(None)
    for name in set(rows) - {"accounts", "trades"}:
        for bucket in (0, 1):
            mine = [r for r in rows[name] if BUCKET[r["client_id"]] == bucket]
            folder = tmp_path / name / f"bucket={bucket:03d}"
            write_parquet(folder / "part-0.parquet", arrow(name, mine))
    day = panel.sessions[80].item()
    frame = flow_frame(tally_lake(tmp_path, day), threads=2)
    books = [
        build_frame(BookHistory.load(tmp_path, panel, bucket).as_of(day), FLOWS)
        for bucket in (0, 1)
    ]
    assert frame.client_ids == tuple(c for b in books for c in b.client_ids)
    assert frame.feature_set_sha256 == books[0].feature_set_sha256
    np.testing.assert_array_equal(frame.values, np.concatenate([b.values for b in books]))


def test_threads_and_the_future_change_no_tally(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path
) -> None:
    lake = Deliveries(tmp_path, panel, random_rows(2))
    lake.until(60)
    day = panel.sessions[60].item()
    then = tally_lake(tmp_path, day, 1)
    lake.until(None)
    for threads in (1, 2, 4):
        assert_same(then, tally_lake(tmp_path, day, threads))


def test_a_night_without_a_fitting_state_is_refused_with_the_way_out(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path
) -> None:
    Deliveries(tmp_path, panel, random_rows(2)).until(None)
    early, late = panel.sessions[40].item(), panel.sessions[50].item()
    with pytest.raises(InputError, match=f"has no feature state of {early}; leave --since out"):
        advance(tmp_path, late, early)
    build_with_state(tmp_path, late)
    with pytest.raises(InputError, match=f"--since is {late}, which is not before {early}"):
        advance(tmp_path, early, late)
    state = tmp_path / FOLDER / str(late) / "state.json"
    state.write_text(state.read_text().replace('"format":1', '"format":99'))
    with pytest.raises(InputError, match="was written by another version; leave --since out"):
        advance(tmp_path, panel.sessions[51].item(), late)
    with pytest.raises(InputError, match="2024-01-06 is no session of the lake; its sessions run"):
        tally_lake(tmp_path, dt.date(2024, 1, 6))


def test_an_unknown_account_or_symbol_of_a_fill_is_refused_with_its_name(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path
) -> None:
    for column, value in (("symbol", "ZZZ"), ("account_id", "a9")):
        rows = random_rows(1)
        rows["trades"] = [dict(r) for r in rows["trades"]]
        rows["trades"][0][column] = value
        root = tmp_path / column
        Deliveries(root, panel, rows).until(None)
        with pytest.raises(InputError, match=rf"trades\.{column}: '{value}' is not known; run"):
            tally_lake(root, panel.sessions[89].item())
