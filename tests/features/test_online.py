"""The online snapshot: the batch frame's rows, fast, whole, and refused when too old."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.units import NULL
from features.asof import BookHistory
from features.build import build_frame
from features.online import Snapshot, publish
from features.panel import PricePanel
from features.sets import BEHAVIOURAL_2

NOW = dt.datetime(2024, 5, 7, 1, 0, tzinfo=dt.UTC)
UNTIL = NOW + dt.timedelta(hours=9)


def made(clients: int, value: int = 0) -> FeatureFrame:
    values = np.arange(clients * 60).reshape(clients, 60) - 7 + value
    values[0, 3] = NULL
    names = tuple(f"f{k}" for k in range(60))
    ids = tuple(f"c{k}" for k in range(clients))
    return FeatureFrame("made/1", "0" * 64, names, ids, dt.date(2024, 5, 6), values)


def test_batch_equals_online_for_every_client(
    panel: PricePanel,
    random_rows: Callable[[int], dict[str, list[dict[str, Any]]]],
    write_lake: Callable[[Path, Any], Path],
    tmp_path: Path,
) -> None:
    history = BookHistory.load(write_lake(tmp_path / "lake", random_rows(1)), panel)
    frame = build_frame(history.as_of(panel.sessions[80].item()), BEHAVIOURAL_2)
    publish(frame, tmp_path / "online.sqlite", UNTIL)
    snapshot = Snapshot.open(tmp_path / "online.sqlite")
    for k, client in enumerate(frame.client_ids):
        assert snapshot.read(client, NOW).tolist() == frame.values[k].tolist()
        one = snapshot.frame(client, NOW)
        assert one.names == frame.names
        assert one.feature_set_sha256 == frame.feature_set_sha256


def test_a_client_is_read_in_less_than_a_millisecond(tmp_path: Path) -> None:
    publish(made(20_000), tmp_path / "s", UNTIL)
    snapshot, spent = Snapshot.open(tmp_path / "s"), []
    for k in range(500):
        started = time.thread_time()
        snapshot.read(f"c{k * 37 % 20_000}", NOW)
        spent.append(time.thread_time() - started)
    assert sorted(spent)[len(spent) // 2] < 0.001


def test_a_snapshot_that_is_too_old_answers_nothing(tmp_path: Path) -> None:
    publish(made(2), tmp_path / "s", UNTIL)
    snapshot = Snapshot.open(tmp_path / "s")
    assert snapshot.read("c0", UNTIL)[3] == NULL
    with pytest.raises(InputError, match=r"of 2024-05-06 were good until 2024-05-07T10:00:00Z and"):
        snapshot.read("c0", UNTIL + dt.timedelta(seconds=1))


def test_a_new_night_replaces_the_file_and_an_open_reader_keeps_its_own(tmp_path: Path) -> None:
    publish(made(2), tmp_path / "s", UNTIL)
    before = Snapshot.open(tmp_path / "s")
    publish(made(2, 1000), tmp_path / "s", UNTIL)
    assert before.read("c1", NOW)[0] == 53
    assert Snapshot.open(tmp_path / "s").read("c1", NOW)[0] == 1053
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_an_unknown_client_and_a_missing_or_foreign_file_are_refused(tmp_path: Path) -> None:
    publish(made(2), tmp_path / "s", UNTIL)
    with pytest.raises(InputError, match="has no features as of 2024-05-06; decide with the appl"):
        Snapshot.open(tmp_path / "s").read("nobody", NOW)
    with pytest.raises(InputError, match="no feature snapshot at"):
        Snapshot.open(tmp_path / "none")
    (tmp_path / "text").write_text("not a database" * 100)
    with pytest.raises(InputError, match="is no feature snapshot: file is not a database; publish"):
        Snapshot.open(tmp_path / "text")
    with pytest.raises(InputError, match="give it a time zone"):
        publish(made(2), tmp_path / "s", dt.datetime(2024, 5, 7))
