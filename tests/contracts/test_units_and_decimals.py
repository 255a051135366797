"""Units at the boundary: what is read is what is written, and floats end in one place."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.lake import decimal_array, decimal_to_int
from data_contracts.units import (
    NULL,
    ceil_div,
    format_decimal,
    parse_decimal,
    quantise,
    quantise_array,
)

PLACES = st.sampled_from([0, 2, 4, 6, 9]).filter(bool)
QUANTA = st.integers(-(10**18) + 1, 10**18 - 1)
NULLABLE = st.lists(st.one_of(QUANTA, st.just(NULL)), max_size=40)


@given(QUANTA, PLACES)
def test_a_quantity_reads_back_as_it_was_written(value, places):
    assert parse_decimal(format_decimal(value, places), places, "x") == value


@given(QUANTA, PLACES)
def test_a_written_quantity_is_the_decimal_it_stands_for(value, places):
    assert Decimal(format_decimal(value, places)) == Decimal(value).scaleb(-places)


@pytest.mark.parametrize(
    ("text", "quanta"),
    [("12", 1200), ("12.3", 1230), ("-0.01", -1), ("1e3", 100_000), ("5.1000", 510), ("-0", 0)],
)
def test_other_spellings_of_a_decimal_are_read_exactly(text, quanta):
    assert parse_decimal(text, 2, "cash_amt") == quanta


def test_a_decimal_beyond_28_digits_is_not_rounded():
    assert parse_decimal("1" * 35 + ".01", 2, "x") == int("1" * 35 + "01")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("twelve", "cash_amt: 'twelve' is not a decimal number; write it like \"1234.50\""),
        (
            "0.001",
            "cash_amt: '0.001' has more than 2 decimal places or is not finite; round it first",
        ),
        ("NaN", "cash_amt: 'NaN' has more than 2 decimal places or is not finite; round it first"),
        (
            "-Infinity",
            "cash_amt: '-Infinity' has more than 2 decimal places or is not finite; round it first",
        ),
        (
            "1e999999",
            "cash_amt: the number has more than 60 digits; correct it or its unit",
        ),
    ],
)
def test_what_is_no_amount_is_refused(text, message):
    with pytest.raises(InputError) as refused:
        parse_decimal(text, 2, "cash_amt")
    assert str(refused.value) == message


def test_quantising_rounds_half_to_even():
    assert [quantise(v, 1) for v in (0.5, 1.5, 2.5, -0.5, -1.5)] == [0, 2, 2, 0, -2]
    assert quantise_array(np.array([0.5, 1.5, 2.5, -1.5]), 1).tolist() == [0, 2, 2, -2]


def test_an_undefined_float_becomes_null():
    assert quantise_array(np.array([np.nan, 0.25]), 1_000_000).tolist() == [NULL, 250_000]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 2.0**52])
def test_a_float_beyond_exact_integers_is_refused(value):
    with pytest.raises(InputError) as refused:
        quantise_array(np.array([value]), 1)
    assert str(refused.value) == (
        "a feature value is infinite or beyond 2**52 quanta; clip it in its definition"
    )


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_ceil_div_is_the_smallest_integer_not_below_the_quotient(a, b):
    quotient = ceil_div(a, b)
    assert (quotient - 1) * b < a <= quotient * b


@given(NULLABLE, st.sampled_from([2, 4, 6]))
def test_quanta_survive_an_arrow_decimal_array(values, scale):
    array = decimal_array(np.array(values, dtype=np.int64), scale)
    array.validate(full=True)
    expected = [None if v == NULL else Decimal(v).scaleb(-scale) for v in values]
    assert array.to_pylist() == expected
    assert decimal_to_int(array).tolist() == values


@given(NULLABLE, st.data())
def test_a_slice_of_a_decimal_array_reads_as_the_slice_of_its_quanta(values, data):
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    array = decimal_array(np.array(values, dtype=np.int64), 2)
    assert decimal_to_int(array[start:stop]).tolist() == values[start:stop]
    chunks = pa.chunked_array([array[:start], array[start:]], type=array.type)
    assert decimal_to_int(chunks).tolist() == values


@given(NULLABLE)
def test_decimals_that_arrow_made_read_as_quanta(values):
    made = [None if v == NULL else Decimal(v).scaleb(-2) for v in values]
    assert decimal_to_int(pa.array(made, type=pa.decimal128(18, 2))).tolist() == values


def test_a_quantity_of_more_digits_than_the_column_is_refused():
    with pytest.raises(InputError) as refused:
        decimal_array(np.array([1, 10**18]), 2)
    assert str(refused.value) == (
        "10000000000000000.00 has more than 18 digits; correct the value or its unit"
    )
