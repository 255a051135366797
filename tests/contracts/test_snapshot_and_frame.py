"""The market snapshot and the feature frame on disk."""

import dataclasses
import datetime as dt
import hashlib
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import PATHS_FILE, SUSPENDED, MarketSnapshot, ScenarioPaths
from data_contracts.units import NULL


@pytest.fixture
def snapshot() -> MarketSnapshot:
    integers: dict[str, list[int]] = {
        "price": [120_500, NULL, 90_000],
        "price_limit": [100_000, 200_000, NULL],
        "haircut": [700_000, 650_000, NULL],
        "security_margin": [300_000, 400_000, 1_000_000],
        "gap_loss": [80_000, 120_000, 300_000],
        "expected_sale_shares": [10_000, NULL, 0],
    }
    flags = ("margin_eligible", "collateral_eligible", "special_treatment", "suspended")
    arrays: dict[str, Any] = {n: np.array(v, dtype=np.int64) for n, v in integers.items()}
    arrays |= {name: np.array([True, False, k == 1]) for k, name in enumerate(flags)}
    return MarketSnapshot(
        **arrays,
        session=dt.date(2015, 6, 12),
        mic="XSHG",
        currency="CNY",
        symbols=("AAA", "BBB", "CCC"),
        board=("main", "main", "star"),
        scenarios=np.array([[-100_000, 20_000, 0], [50_000, -1, 7]], dtype=np.int32),
        funding_bps=325,
        net_capital_amt=5_000_000_000_00,
        headroom_amt=100_000_000_00,
        utilisation=640_000,
        tier_shift_bps=(0, 0, 5, 5, 10, 10, 20),
        damped_margin=np.array([250_000, NULL, 900_000]),
        paths=ScenarioPaths(
            moves=np.array([[5, -7, SUSPENDED], [1, 2, 3], [0, 0, 9]], dtype=np.int32),
            limit=np.array([100_000, 200_000, 950_000]),
            days=np.array([[0, 1, 2, 2], [2, 1, 1, 0]], dtype=np.int32),
            weight=np.array([900_000, 1_100_000]),
            stress_weight=np.array([0, 2_000_000]),
        ),
        tail_weight=np.array([0, 50_000]),
    )


def _equal(a: Any, b: Any) -> bool:
    return all(
        _equal(getattr(a, f.name), getattr(b, f.name))
        if dataclasses.is_dataclass(getattr(a, f.name))
        else np.array_equal(getattr(a, f.name), getattr(b, f.name))
        for f in dataclasses.fields(a)
    )


def test_a_snapshot_reads_back_as_it_was_written(snapshot, tmp_path):
    snapshot.write(tmp_path / "m")
    read = MarketSnapshot.read(tmp_path / "m")
    assert _equal(read, snapshot)
    assert read.sha256 == snapshot.sha256
    assert read.index == {"AAA": 0, "BBB": 1, "CCC": 2}


def test_every_array_and_scalar_is_in_the_hash(snapshot):
    seen = {snapshot.sha256}
    for field in dataclasses.fields(snapshot):
        value = getattr(snapshot, field.name)
        changed: Any
        if isinstance(value, np.ndarray):
            changed = value.copy()
            flat = changed.reshape(-1)
            flat[0] = not flat[0] if changed.dtype == bool else 1
        elif isinstance(value, tuple):
            changed = (value[0] - 1 if isinstance(value[0], int) else "A", *value[1:])
        elif isinstance(value, dt.date):
            changed = value + dt.timedelta(days=1)
        elif isinstance(value, ScenarioPaths):
            changed = dataclasses.replace(value, limit=value.limit + 1)
        else:
            changed = value + (1 if isinstance(value, int) else "X")
        seen.add(dataclasses.replace(snapshot, **{field.name: changed}).sha256)
    assert len(seen) == 1 + len(dataclasses.fields(snapshot))


def test_every_part_of_the_scenario_set_is_in_the_hash(snapshot):
    seen = {snapshot.sha256}
    for field in dataclasses.fields(snapshot.paths):
        changed = np.array(getattr(snapshot.paths, field.name))
        changed.flat[0] = 1
        value = changed if changed.ndim else int(changed)
        paths = dataclasses.replace(snapshot.paths, **{field.name: value})
        seen.add(dataclasses.replace(snapshot, paths=paths).sha256)
    assert len(seen) == 1 + len(dataclasses.fields(snapshot.paths))


def test_a_snapshot_without_a_scenario_set_reads_back_too(snapshot, tmp_path):
    bare = dataclasses.replace(snapshot, paths=None, tail_weight=None)
    bare.write(tmp_path)
    assert MarketSnapshot.read(tmp_path).paths is None
    assert not (tmp_path / PATHS_FILE).exists()


def test_a_snapshot_without_the_firms_tail_is_written_as_it_was_before_and_reads_back(
    snapshot, tmp_path
):
    without = dataclasses.replace(snapshot, tail_weight=None)
    assert orjson.loads(without.manifest)["format"] == 3
    assert "capital_tail" not in orjson.loads(without.manifest)
    without.write(tmp_path)
    read = MarketSnapshot.read(tmp_path)
    assert read.tail_weight is None
    assert read.sha256 == without.sha256 != snapshot.sha256
    assert orjson.loads(snapshot.manifest)["capital_tail"] == {
        "source": "firm",
        "paths": 1,
        "weight_sha256": hashlib.sha256(np.array([0, 50_000], dtype="<i8").tobytes()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1], "the firm's tail has not one weight for each of 2 paths"),
        ([0, 0], "a negative weight, or none that is not 0"),
        ([-1, 5], "a negative weight, or none that is not 0"),
    ],
)
def test_a_tail_that_does_not_fit_its_scenario_set_is_refused(snapshot, weight, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(snapshot, tail_weight=np.array(weight))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"days": np.array([[0, 3]], dtype=np.int32)}, "not one weight for each of 1 paths"),
        ({"days": np.full((2, 4), 3, dtype=np.int32)}, "takes days outside its window of 3"),
        ({"weight": np.array([-1, 1])}, "has a negative weight"),
        ({"limit": np.array([1])}, "has 3 names but limits of (1,)"),
    ],
)
def test_a_scenario_set_that_does_not_fit_together_is_refused(snapshot, change, message):
    with pytest.raises(InputError) as refused:
        dataclasses.replace(snapshot.paths, **change)
    assert message in str(refused.value)


def test_a_scenario_set_of_other_names_is_refused(snapshot):
    fewer = dataclasses.replace(
        snapshot.paths, moves=snapshot.paths.moves[:2], limit=snapshot.paths.limit[:2]
    )
    with pytest.raises(InputError, match="the scenario set has 2 names, not 3"):
        dataclasses.replace(snapshot, paths=fewer)


def _damage(folder, what):
    if what == "paths":
        with np.load(folder / PATHS_FILE) as kept:
            arrays = dict(kept)
        arrays["moves"][0, 0] += 1
        np.savez(folder / PATHS_FILE, **arrays)
    elif what == "array":
        np.save(folder / "scenarios.npy", np.zeros((2, 3), dtype=np.int32))
    else:
        table = pq.read_table(folder / "securities.parquet")
        changed = pa.array([120_501, None, 90_000])
        pq.write_table(
            table.set_column(table.schema.get_field_index("price"), "price", changed),
            folder / "securities.parquet",
        )


@pytest.mark.parametrize("what", ["array", "price", "paths"])
def test_a_changed_array_is_refused(snapshot, tmp_path, what):
    snapshot.write(tmp_path)
    _damage(tmp_path, what)
    with pytest.raises(InputError) as refused:
        MarketSnapshot.read(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: the snapshot's arrays are not the ones market.json was made from;"
        " restore the folder or make the snapshot again"
    )
    MarketSnapshot.read(tmp_path, verify=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 1}, "the market snapshot has format 1; this version reads formats 3 and 4"),
        ({"mic": None}, "the market snapshot is damaged: 'mic' is missing"),
        (
            {"tier_shift_bps": [0, 0, 0, 0, 0, 0]},
            "tier_shift_bps must be seven numbers that never fall, not (0, 0, 0, 0, 0, 0)",
        ),
    ],
)
def test_a_snapshot_whose_market_json_is_wrong_is_refused(snapshot, tmp_path, change, message):
    snapshot.write(tmp_path)
    document = orjson.loads((tmp_path / "market.json").read_bytes()) | change
    kept = {name: value for name, value in document.items() if value is not None}
    (tmp_path / "market.json").write_bytes(orjson.dumps(kept))
    with pytest.raises(InputError) as refused:
        MarketSnapshot.read(tmp_path)
    assert str(refused.value).removeprefix(f"{tmp_path}: ") == message


def test_a_folder_without_market_json_is_no_snapshot(tmp_path):
    with pytest.raises(InputError) as refused:
        MarketSnapshot.read(tmp_path)
    assert str(refused.value) == f"{tmp_path} is not a market snapshot: it has no market.json"


def test_a_half_written_snapshot_is_damaged_not_empty(snapshot, tmp_path):
    snapshot.write(tmp_path)
    (tmp_path / "securities.parquet").unlink()
    with pytest.raises(InputError, match=r"the market snapshot is damaged: .*securities\.parquet"):
        MarketSnapshot.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"symbols": ("BBB", "AAA", "CCC")},
            "the snapshot's symbols are not ascending and unique",
        ),
        (
            {"price": np.array([1, 2])},
            "snapshot column price has not one value for each of 3 symbols",
        ),
        (
            {"scenarios": np.zeros((4, 2), dtype=np.int32)},
            "the scenarios have shape (4, 2), not (S, 3)",
        ),
        (
            {"tier_shift_bps": (0, 5, 0, 5, 5, 5, 5)},
            "tier_shift_bps must be seven numbers that never fall, not (0, 5, 0, 5, 5, 5, 5)",
        ),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(snapshot, change, message):
    with pytest.raises(InputError) as refused:
        dataclasses.replace(snapshot, **change)
    assert str(refused.value) == message


@given(
    hnp.arrays(
        np.int64,
        st.tuples(st.integers(0, 4), st.integers(0, 3)),
        elements=st.one_of(st.just(int(NULL)), st.integers(-(2**52), 2**52)),
    )
)
def test_a_feature_frame_reads_back_as_it_was_written(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("frame") / "f.parquet"
    n, k = values.shape
    frame = FeatureFrame(
        "behavioural/1",
        "ab" * 32,
        tuple(f"feature_{i}" for i in range(k)),
        tuple(f"c{i}" for i in range(n)),
        dt.date(2015, 6, 12),
        values,
    )
    frame.write(path)
    read = FeatureFrame.read(path)
    assert np.array_equal(read.values, values)
    for name in ("feature_set", "feature_set_sha256", "names", "client_ids", "as_of"):
        assert getattr(read, name) == getattr(frame, name)


def test_a_frame_gives_a_column_by_name_and_clients_in_the_order_asked():
    frame = FeatureFrame(
        "s/1", "", ("a", "b"), ("x", "y"), dt.date(2015, 6, 12), np.array([[1, 2], [3, 4]])
    )
    assert frame.column("b").tolist() == [2, 4]
    taken = frame.take([1, 0])
    assert taken.client_ids == ("y", "x")
    assert taken.values.tolist() == [[3, 4], [1, 2]]


def test_frames_that_are_none_are_refused_with_the_way_out(tmp_path):
    path = tmp_path / "f.parquet"
    with pytest.raises(InputError) as refused:
        FeatureFrame.read(path)
    assert str(refused.value) == (
        f"no feature frame at {path}; make it with `gearline features build`"
    )
    pq.write_table(pa.table({"client_id": ["a"]}), path)
    with pytest.raises(InputError) as refused:
        FeatureFrame.read(path)
    assert str(refused.value) == (
        f"{path} is not a feature frame: its metadata names no feature set"
    )
    with pytest.raises(InputError) as refused:
        FeatureFrame("s/1", "", ("a",), ("x",), dt.date(2015, 6, 12), np.zeros((2, 1), np.int64))
    assert str(refused.value) == (
        "a feature frame of 1 clients and 1 features has values of shape (2, 1)"
    )
