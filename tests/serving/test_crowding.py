"""Names in which too much is bought on margin receive no new financing the next session."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from data_contracts.lake import LakeInfo, create_lake, write_shared
from data_contracts.units import NULL
from models.law.eligible import may_be_financed, stopped
from models.law.firm import quota_by_law
from models.policy import load_pack
from serving.nightly.crowding import with_crowding
from tests.models.builders import MARKETS, POLICIES

CN = MARKETS["cn"]
DAY = dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([240_000, 249_999], False),
        ([240_000, 250_000], True),
        ([250_000, 210_000], True),
        ([250_000, 199_999], False),
        ([250_000, 199_999, 240_000], False),
        ([250_000, NULL], True),
        ([], False),
    ],
)
def test_a_name_stops_at_a_quarter_and_stays_so_until_below_a_fifth(shares, expected):
    series = np.array(shares, dtype=np.int64).reshape(-1, 1)
    assert stopped(series, POLICIES["cn"]).tolist() == [expected]


def test_the_night_reads_what_was_known_of_crowding_and_no_more(tmp_path):
    root = tmp_path / "lake"
    create_lake(root, LakeInfo(currency="CNY", mic="XSHG", buckets=1, source="test"))
    rows = [
        ("AAA", CN.session - DAY, 2_500_00, 10_000_00, 0),
        ("BBB", CN.session - DAY, 2_499_99, 10_000_00, 0),
        ("CCC", CN.session, 9_000_00, 10_000_00, 1),  # known the morning after
        ("DDD", CN.session - DAY, 1_00, NULL, 0),
    ]
    symbols, sessions, balances, floats, late = zip(*rows, strict=True)
    stamp = [
        dt.datetime.combine(day, dt.time(9), dt.UTC) + more * DAY
        for day, more in zip(sessions, late, strict=True)
    ]
    columns = {
        "symbol": symbols,
        "session": sessions,
        "financing_balance_amt": np.array(balances),
        "float_value_amt": np.array(floats),
        "event_at": stamp,
        "known_at": stamp,
    }
    write_shared(root, "security_financing", columns)
    market = with_crowding(CN, root, POLICIES["cn"])
    assert market.financing_ratio.tolist() == [250_000, 249_999, NULL, NULL, NULL]
    assert may_be_financed(market, POLICIES["cn"]).tolist() == [False, True, True, False, True]
    assert with_crowding(CN, tmp_path, POLICIES["cn"]) is CN
    assert with_crowding(MARKETS["us"], root, POLICIES["us"]) is MARKETS["us"]


def test_the_firms_quota_counts_no_further_than_four_times_its_capital():
    before, after = (load_pack("cn").on(dt.date(2015, 7, 1) - k * DAY) for k in (1, 0))
    assert quota_by_law(500, 100, before) == 500
    assert quota_by_law(500, 100, after) == 400
    assert quota_by_law(300, 100, after) == 300
    assert quota_by_law(300, -5, after) == 0
    assert quota_by_law(500, 100, POLICIES["us"]) == 500
