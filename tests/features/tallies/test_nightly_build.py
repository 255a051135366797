"""The nightly build: equal to a full one whatever arrives late, and when it is refused."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.lake import LakeInfo, create_lake
from features.panel import PricePanel
from features.tallies import nightly, state
from features.tallies.full import LakeTallies, tally_lake
from features.tallies.nightly import advance, build_with_state
from features.tallies.state import FOLDER, only_build

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Lakes = Callable[..., Any]
Same = Callable[[LakeTallies, LakeTallies], None]
NIGHTS = (30, 45, 46, 47, 60, 80, 89)


ACTS = ("again", "quantity", "side", "session", "account", "instant")


def with_versions(rows: Rows, data: st.DataObject) -> Rows:
    """Some fills corrected, moved to another session or account, or delivered again."""
    out = {name: list(table) for name, table in rows.items()}
    trades = rows["trades"]
    for number in data.draw(st.lists(st.integers(0, len(trades) - 1), max_size=12)):
        row = dict(trades[number])
        act = data.draw(st.sampled_from(ACTS))
        days = data.draw(st.integers(1, 40))
        if act == "instant":  # of two versions known at once the one in the later file counts
            row["quantity_shares"] += 200
            out["trades"].append(row)
            continue
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


# No shrinking: an example is a lake built seven times over.
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)
@given(data=st.data(), seed=st.integers(0, 5))
def test_nightly_equals_full_after_late_corrected_and_repeated_fills(
    data: st.DataObject,
    seed: int,
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    deliveries: Lakes,
    same: Same,
) -> None:
    # Segments are joined as after months of nights, and clients summed again in several goes.
    monkeypatch.setattr(nightly, "JOINED", data.draw(st.sampled_from((2, 3, 16))))
    monkeypatch.setattr(nightly, "CLIENTS_AT_ONCE", data.draw(st.sampled_from((1, 2, 20_000))))
    root = tmp_path_factory.mktemp("lake")
    rows = with_versions(random_rows(seed), data)
    places = st.integers(0, len(rows["trades"]) - 1)
    withheld = data.draw(st.frozensets(places, max_size=8))
    lake = deliveries(root, panel, rows, withheld)
    by_parts = data.draw(st.booleans())
    lake.until(NIGHTS[0] if by_parts else None)
    days = [panel.sessions[t].item() for t in NIGHTS]
    build_with_state(root, days[0], threads=2)
    for before, day, t in zip(days, days[1:], NIGHTS[1:], strict=False):
        if by_parts:
            lake.until(t)
        threads = data.draw(st.sampled_from((1, 2, 4)))
        same(advance(root, day, before, threads).lake, tally_lake(root, day, threads))


def state_bytes(root: Path) -> dict[str, str]:
    """Hash of each file of a lake's feature state, by name."""
    folder = root / FOLDER
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_state_is_the_same_byte_for_byte_with_any_number_of_threads(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path, deliveries: Lakes
) -> None:
    deliveries(tmp_path, panel, random_rows(2)).until(None)
    days = [panel.sessions[t].item() for t in (45, 46, 80)]
    found = []
    for threads in (1, 2, 4):
        shutil.rmtree(tmp_path / FOLDER, ignore_errors=True)
        build_with_state(tmp_path, days[0], threads)
        advance(tmp_path, days[1], days[0], threads)
        advance(tmp_path, days[2], days[1], threads)
        found.append(state_bytes(tmp_path))
    assert found[0] == found[1] == found[2]
    assert {f"{day}.json" for day in days} < set(found[0])


def test_any_night_can_be_run_again_and_what_an_interrupted_one_left_is_removed(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    tmp_path: Path,
    deliveries: Lakes,
    same: Same,
) -> None:
    lake = deliveries(tmp_path, panel, random_rows(2))
    lake.until(60)
    days = [panel.sessions[t].item() for t in (45, 46, 60)]
    build_with_state(tmp_path, days[0])
    advance(tmp_path, days[1], days[0])
    first = advance(tmp_path, days[2], days[1]).lake
    left = tmp_path / FOLDER / f"{days[2]}.7"  # files of a night that never got to its description
    left.mkdir()
    (left / "state.bin").write_bytes(b"half")
    damaged = tmp_path / FOLDER / "2020-01-02.json"
    damaged.write_text("{}")
    same(advance(tmp_path, days[2], days[1]).lake, first)
    assert left.exists()  # while a description cannot be read nothing is removed
    damaged.unlink()
    for since in (days[1], days[0]):
        same(advance(tmp_path, days[2], since).lake, first)
        assert not left.exists()
    build_with_state(tmp_path, days[0])  # the later nights still stand on the segment before
    same(advance(tmp_path, days[2], days[1]).lake, first)


def test_a_night_without_a_fitting_state_is_refused_with_the_way_out(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path, deliveries: Lakes
) -> None:
    deliveries(tmp_path, panel, random_rows(2)).until(None)
    early, late = panel.sessions[40].item(), panel.sessions[50].item()
    with pytest.raises(InputError, match=f"has no feature state of {early}; leave --since out"):
        advance(tmp_path, late, early)
    build_with_state(tmp_path, late)
    with pytest.raises(InputError, match=f"--since is {late}, which is not before {early}"):
        advance(tmp_path, early, late)
    state = tmp_path / FOLDER / f"{late}.json"
    document = json.loads(state.read_text())
    state.write_text(json.dumps(document | {"definitions": "0" * 64}))
    with pytest.raises(InputError, match="was written by another version; leave --since out"):
        advance(tmp_path, panel.sessions[51].item(), late)
    with pytest.raises(InputError, match="2024-01-06 is no session of the lake; its sessions run"):
        tally_lake(tmp_path, dt.date(2024, 1, 6))


def test_a_state_that_no_longer_fits_its_lake_is_refused_with_what_changed(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path, deliveries: Lakes
) -> None:
    early, late = panel.sessions[40].item(), panel.sessions[50].item()
    root = tmp_path / "lake"
    deliveries(root, panel, random_rows(2)).until(None)
    build_with_state(root, early)
    name = "trades/bucket=001/part-000.parquet"
    held = (root / name).read_bytes()

    def refused(reason: str) -> None:
        with pytest.raises(InputError, match=rf"{reason}.*; leave --since out for a full build"):
            advance(root, late, early)

    (root / name).write_bytes(held + b" ")
    refused(f"{name} was counted in the feature state of {early} and was changed since")
    (root / name).unlink()
    refused(f"{name} was counted in the feature state of {early} and is gone since")
    (root / name).write_bytes(held)
    build_with_state(root, early)
    description = root / FOLDER / f"{early}.json"
    whole = description.read_bytes()
    description.write_bytes(whole[:100])
    refused(f"{description} is damaged")
    description.write_bytes(whole)
    sums = root / FOLDER / json.loads(whole)["tallies"]["sums"][0]
    sums.write_bytes(sums.read_bytes()[:500])
    refused(f"the feature state is damaged: {sums} has 500 bytes of")
    other = tmp_path / "other"
    deliveries(other, panel, random_rows(2)).until(None)
    create_lake(other, LakeInfo("CNY", panel.mic, 2, "another"))
    shutil.copytree(root / FOLDER, other / FOLDER)
    root = other
    refused(f"{other / FOLDER / f'{early}.json'} is the state of another lake")


def test_the_states_of_the_last_sessions_are_kept_and_only_the_files_they_need(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    tmp_path: Path,
    deliveries: Lakes,
    same: Same,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "STATES_KEPT", 2)
    lake = deliveries(tmp_path, panel, random_rows(2))
    days = [panel.sessions[t].item() for t in (40, 41, 42, 43)]
    for t in (40, 41, 42, 43):
        lake.until(t)
        day = panel.sessions[t].item()
        if t == 40:
            build_with_state(tmp_path, day)
        else:
            advance(tmp_path, day, panel.sessions[t - 1].item())
    folder = tmp_path / FOLDER
    assert sorted(p.name for p in folder.glob("*.json")) == [f"{d}.json" for d in days[2:]]
    assert not (folder / f"{days[1]}.0" / "state.bin").exists()
    assert (folder / f"{days[1]}.0" / "segment-1.bin").exists()
    with pytest.raises(InputError, match=f"has no feature state of {days[1]}; leave --since out"):
        advance(tmp_path, days[3], days[1])
    again = advance(tmp_path, days[3], days[2]).lake
    same(again, tally_lake(tmp_path, days[3]))


def test_no_build_reads_a_lake_that_its_last_check_stopped(
    panel: PricePanel,
    random_rows: Callable[[int], Rows],
    tmp_path: Path,
    deliveries: Lakes,
) -> None:
    deliveries(tmp_path, panel, random_rows(2)).until(None)
    early, late = panel.sessions[40].item(), panel.sessions[50].item()
    build_with_state(tmp_path, early)
    (tmp_path / "quarantine").mkdir()
    stopped = {"stopped": {"trades": "too many bad rows"}}
    (tmp_path / "quarantine" / "check.json").write_text(json.dumps(stopped))
    for build in (tally_lake, build_with_state, lambda root, day: advance(root, day, early)):
        with pytest.raises(InputError, match="was stopped by its last check: too many bad rows"):
            build(tmp_path, late)


def test_two_builds_at_once_are_refused(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path, deliveries: Lakes
) -> None:
    deliveries(tmp_path, panel, random_rows(2)).until(None)
    with (
        only_build(tmp_path),
        pytest.raises(InputError, match="another build is writing the feature state of"),
    ):
        build_with_state(tmp_path, panel.sessions[40].item())


def test_a_night_refuses_fills_of_unknown_accounts_and_symbols_as_a_full_build_does(
    panel: PricePanel, random_rows: Callable[[int], Rows], tmp_path: Path, deliveries: Lakes
) -> None:
    early, late = panel.sessions[40].item(), panel.sessions[89].item()
    for column, value in (("symbol", "ZZZ"), ("account_id", "a9")):
        root = tmp_path / column
        rows = random_rows(1)
        lake = deliveries(root, panel, rows)
        lake.until(40)
        build_with_state(root, early)
        rows["trades"] = [dict(r) for r in rows["trades"]]
        between = [r for r in rows["trades"] if early < r["known_at"].date() < late]
        between[-1][column] = value
        lake.until(None)
        with pytest.raises(InputError, match=rf"trades\.{column}: '{value}' is not known; run"):
            advance(root, late, early)
