"""Tallies of a full build and of a book, equal to plain sums over rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.lake import write_parquet
from features.asof import BookHistory
from features.build import build_frame
from features.flow_frame import flow_frame
from features.panel import PricePanel
from features.sets import FLOWS
from features.tallies.full import LakeTallies, tally_lake
from features.tallies.kernel import DECAY, SUM_COLUMNS, WINDOWS

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Lakes = Any
Same = Callable[[LakeTallies, LakeTallies], None]


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
    deliveries: Lakes,
) -> None:
    rows = random_rows(seed)
    deliveries(tmp_path, panel, rows).until(None)
    for t in (12, 45, 89):
        got = tally_lake(tmp_path, panel.sessions[t].item())
        reading = plain_reading(rows, panel, t)
        assert sorted(got.client_ids.to_pylist()) == reading.clients
        for k, client in enumerate(got.client_ids.to_pylist()):
            sums, mean = plain(reading, client)
            assert got.tallies.sums[:, :, k].tolist() == sums, f"{client} at {t}, {SUM_COLUMNS}"
            assert got.tallies.mean_traded()[k] == pytest.approx(mean, rel=1e-12)


def test_the_flow_set_is_the_same_from_a_lake_and_from_its_books(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path, deliveries: Lakes
) -> None:
    rows = random_rows(3)
    deliveries(tmp_path, panel, rows).until(None)
    for name in set(rows) - {"accounts", "trades"}:
        for bucket in (0, 1):
            mine = [r for r in rows[name] if deliveries.BUCKET[r["client_id"]] == bucket]
            folder = tmp_path / name / f"bucket={bucket:03d}"
            write_parquet(folder / "part-0.parquet", deliveries.arrow(name, mine))
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
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    tmp_path: Path,
    deliveries: Lakes,
    same: Same,
) -> None:
    lake = deliveries(tmp_path, panel, random_rows(2))
    lake.until(60)
    day = panel.sessions[60].item()
    then = tally_lake(tmp_path, day, 1)
    lake.until(None)
    for threads in (1, 2, 4):
        same(then, tally_lake(tmp_path, day, threads))


def test_an_unknown_account_or_symbol_of_a_fill_is_refused_with_its_name(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path, deliveries: Lakes
) -> None:
    for column, value in (("symbol", "ZZZ"), ("account_id", "a9")):
        rows = random_rows(1)
        rows["trades"] = [dict(r) for r in rows["trades"]]
        rows["trades"][0][column] = value
        root = tmp_path / column
        deliveries(root, panel, rows).until(None)
        with pytest.raises(InputError, match=rf"trades\.{column}: '{value}' is not known; run"):
            tally_lake(root, panel.sessions[89].item())
