"""``bench reprice``: every figure comes from a run, and the rivals look at the same book."""

from __future__ import annotations

import pytest

from data_contracts.errors import InputError
from training.bench.reprice import made
from training.bench.reprice.measure import bench_reprice, sizes_below
from training.bench.reprice.sheet import BOOKS, scale_sheet


def test_the_sheet_keeps_the_measured_and_the_extrapolated_apart():
    sheet = scale_sheet(1_000_000, 103.0, 3.0, 2, 200.0, 0.98, 0.5, 1.0)
    assert sheet["measured"]["clients"] == 1_000_000
    assert sheet["measured"]["microseconds_a_client"] == 103.0
    one, ten, many = sheet["extrapolated"]
    assert [b["clients"] for b in sheet["extrapolated"]] == list(BOOKS)
    assert one["machines"] == ten["machines"] == 1
    assert ten["hours"] == round((3.0 + 1_000.0) / 3600, 3)
    # 20,000 s of work and an hour less the start on each machine
    assert many["machines"] == 6
    assert many["hours"] <= 1.0
    assert many["money"] == pytest.approx(many["machine_hours"] * 0.5, abs=0.01)


def test_growth_below_one_is_not_extrapolated():
    slow = scale_sheet(1_000_000, 103.0, 3.0, 2, 200.0, 1.1, 0.5, 4.0)["extrapolated"][2]
    fair = scale_sheet(1_000_000, 103.0, 3.0, 2, 200.0, 0.6, 0.5, 4.0)["extrapolated"][2]
    assert fair["machine_hours"] == pytest.approx(20_000 / 3600, rel=0.01)
    assert slow["machine_hours"] > fair["machine_hours"]


def test_growth_is_measured_from_ten_thousand_clients_in_steps_of_ten():
    assert sizes_below(1_000_000) == [10_000, 100_000]
    assert sizes_below(3_000_000) == [10_000, 100_000, 1_000_000]
    assert sizes_below(50_000) == [5_000]


def test_a_book_too_small_to_compare_is_refused():
    with pytest.raises(InputError, match="at least 1000 clients, not 10"):
        bench_reprice(
            clients=10, slice_clients=None, threads=1, seed=1, price=0.1, window_hours=4.0,
            folder=None, stages=lambda *_: None,
        )  # fmt: skip


class BrokenOffError(Exception):
    """Where a making was broken off."""


def files_of(lake):
    return {str(p.relative_to(lake)): p.read_bytes() for p in lake.rglob("*") if p.is_file()}


def test_a_book_whose_making_was_broken_off_is_the_one_made_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "BLOCK", 200)
    blocks = []

    def progress(done, of):
        blocks.append(done)
        if len(blocks) in (1, 3):
            raise BrokenOffError

    for _ in range(2):
        with pytest.raises(BrokenOffError):
            made.make_book(tmp_path / "broken", 600, 3, progress)
    made.make_book(tmp_path / "broken", 600, 3, progress)
    # what was written is counted again, and not made again
    assert blocks == [200, 200, 400, 200, 400, 600]
    made.make_book(tmp_path / "whole", 600, 3, lambda *_: None)
    assert files_of(tmp_path / "broken") == files_of(tmp_path / "whole")


def test_putting_parts_together_can_be_broken_off_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "BLOCK", 200)
    lake, whole = tmp_path / "lake", tmp_path / "whole"
    made.make_book(whole, 400, 3, lambda *_: None)
    kept = type(lake).unlink
    left = 0

    def unlink(path, **how):
        nonlocal left
        left += path.name.startswith("part-")
        if left == 5:
            left += 1
            raise BrokenOffError
        kept(path, **how)

    monkeypatch.setattr(type(lake), "unlink", unlink)
    with pytest.raises(BrokenOffError):
        made.make_book(lake, 400, 3, lambda *_: None)
    made.make_book(lake, 400, 3, lambda *_: None)
    assert files_of(lake) == files_of(whole)
