"""A generated market as a folder is sound and says where it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.checks import check_lake
from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int, lake_info, read_table, write_shared
from features.panel import PricePanel, load_panel
from tests.lab.markets import (
    DAY,
    same,
)
from training.lab.generated import (
    generate_traced,
    write_generated_market,
)


@pytest.mark.parametrize("name", ["rough", "sample"])
def test_a_written_market_is_sound_and_loads_as_it_was_generated(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, sample_folder: Path
) -> None:
    origin = sample_folder if name == "sample" else request.getfixturevalue(name)
    panel = write_generated_market(origin, 3, tmp_path / "a", sessions=300, first_day=DAY)
    assert check_lake(tmp_path / "a", write=False).quarantined == 0
    assert same(load_panel(tmp_path / "a"), panel)
    flags = lake_info(tmp_path / "a").flags
    assert flags == (("closes-only", "survivor-only") if name == "sample" else ()) + ("generated",)
    write_generated_market(origin, 3, tmp_path / "b", sessions=300, first_day=DAY)
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_a_generated_market_may_be_drawn_from_again(sample_folder: Path, tmp_path: Path) -> None:
    write_generated_market(sample_folder, 3, tmp_path / "a", sessions=300, symbols=5)
    again = write_generated_market(tmp_path / "a", 4, tmp_path / "b", sessions=100)
    assert len(again.symbols) == 5
    assert lake_info(tmp_path / "b").flags == ("closes-only", "survivor-only", "generated")
    with pytest.raises(InputError, match="one format"):
        write_generated_market(tmp_path / "a", 4, sample_folder, sessions=100)


def test_funding_and_crowding_are_those_of_the_sessions_drawn(
    rough: PricePanel, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    write_generated_market(rough, 1, origin, sessions=200, first_day=DAY, symbols=6)
    old = load_panel(origin)
    rate = np.arange(200, dtype=np.int64) + 100
    known = old.close_at
    stamps = {"event_at": known, "known_at": known}
    points = {"session": old.sessions, "tenor_days": np.full(200, 30), "rate_bps": rate}
    write_shared(origin, "rates", points | stamps)
    first = np.full(200, 10**9, dtype=np.int64)
    amounts = {"financing_balance_amt": rate * 1000, "float_value_amt": first}
    name = pa.array([old.symbols[0]] * 200)
    write_shared(
        origin, "security_financing", {"symbol": name, "session": old.sessions} | amounts | stamps
    )
    out = tmp_path / "out"
    write_generated_market(origin, 2, out, sessions=150, first_day=DAY)
    drawn = generate_traced(old, 2, sessions=150, first_day=DAY)
    assert check_lake(out).quarantined == 0
    rates = read_table(out, "rates")
    assert np.array_equal(np.asarray(rates["rate_bps"]), rate[drawn.market_row])
    crowd = read_table(out, "security_financing")
    at, who = np.nonzero((drawn.name == 0).T)
    assert crowd["symbol"].to_pylist() == [old.symbols[k] for k in at]
    balance = decimal_to_int(crowd["financing_balance_amt"])
    assert np.array_equal(balance, rate[drawn.row[who, at]] * 1000)
