"""The gate reads a segment's cases as columns: what a parser of each case would have found."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from data_contracts.units import NULL, format_decimal, parse_decimal
from models.decide.cases import MARGIN_STATES
from serving.nightly.gate.cases import read_cases
from serving.nightly.segments import INPUTS_FILE, parquet_bytes

WIDTH = 3
amounts = st.integers(0, 10**14).map(lambda minor: format_decimal(minor, 2))
symbols = st.sampled_from(["600000.XSHG", 'é\u2028"\\', "A\n{", "Z"])
positions = st.lists(
    st.fixed_dictionaries({"quantity_shares": st.integers(1, 10**12), "symbol": symbols}),
    max_size=4,
)
previous = st.none() | st.fixed_dictionaries(
    {
        "sessions_since": st.integers(1, 10**6),
        "soft_cap_amt": amounts,
        "tier": st.integers(1, 7),
    }
)
cases = st.fixed_dictionaries(
    {
        "client_id": symbols,
        "book": st.fixed_dictionaries({"cash_amt": amounts, "positions": positions}),
        "previous": previous,
        "status": st.fixed_dictionaries(
            {"margin_state": st.sampled_from(MARGIN_STATES), "pep": st.booleans()}
        ),
    }
)


def write(folder, texts, values=None):
    if values is None:
        values = np.zeros((len(texts), WIDTH), dtype=np.int64)
    flat = pa.array(np.where(values == NULL, 0, values).reshape(-1), mask=(values == NULL).ravel())
    columns = {
        "client_id": pa.array([str(k) for k in range(len(texts))], pa.string()),
        "case": pa.array(texts, pa.binary()),
        "features": pa.FixedSizeListArray.from_arrays(flat, WIDTH),
    }
    (folder / INPUTS_FILE).write_bytes(parquet_bytes(pa.table(columns)))


@settings(deadline=None)  # it reads and writes files
@given(st.lists(cases, max_size=6))
def test_columns_hold_what_each_case_states(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("segment")
    write(folder, [canonical_bytes(c) for c in made])
    found = read_cases(folder, WIDTH)
    states = [MARGIN_STATES[k] for k in found.margin_state.tolist()]
    assert states == [c["status"]["margin_state"] for c in made]
    last = [c["previous"] for c in made]
    assert found.last_soft.tolist() == [
        NULL if p is None else parse_decimal(p["soft_cap_amt"], 2, "") for p in last
    ]
    assert found.since.tolist() == [0 if p is None else p["sessions_since"] for p in last]
    lots = zip(found.lot_client, found.lot_symbol, found.lot_shares, strict=True)
    assert [(int(k), found.symbols[s], int(n)) for k, s, n in lots] == [
        (k, lot["symbol"], lot["quantity_shares"])
        for k, c in enumerate(made)
        for lot in c["book"]["positions"]
    ]


def test_features_keep_their_missing_values(tmp_path):
    values = np.array([[1, NULL, -3], [4, 5, NULL]], dtype=np.int64)
    case = b'{"book":{"positions":[]},"previous":null,"status":{"margin_state":"clear"}}'
    write(tmp_path, [case] * 2, values)
    np.testing.assert_array_equal(read_cases(tmp_path, WIDTH).features, values)


@pytest.mark.parametrize(
    "text",
    [
        b'{"book":{"positions":[]},"previous":null,"status":{"margin_state":"gone"}}',
        b'{"book":{"positions":[]},"previous":null,"status":{}}',
        b'{"book":{},"previous":null,"status":{"margin_state":"clear"}}',
        b'{"book":{"positions":[]},"previous":{"sessions_since":1,"soft_cap_amt":"1.005"},'
        b'"status":{"margin_state":"clear"}}',
        b'{"book":',
        b"",
    ],
)
def test_a_damaged_case_is_refused_and_named_by_its_file(tmp_path, text):
    write(tmp_path, [text])
    with pytest.raises(InputError, match=r"inputs\.parquet are damaged: .*; restore them"):
        read_cases(tmp_path, WIDTH)
