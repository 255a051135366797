"""Waterfalls, their texts, and the numbers on them."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from models.margin.cap import CAP_TERMS
from models.price.rate import RATE_COMPONENTS
from training.report import waterfall_svg
from training.report.charts import bin_edges
from training.report.formats import feature_value, money, number, percent
from training.report.svg import fitted, text_width
from training.report.texts import CAP_TERM_TEXTS, RATE_COMPONENT_TEXTS, Text, same
from training.report.waterfall import Bar

STEP = st.one_of(st.none(), st.integers(-(10**12), 10**12))


def drawn(first, steps, last, **more):
    return waterfall_svg(
        **{
            "name": "w",
            "title": Text("Title", "标题"),
            "description": Text("Description", "说明"),
            "start": Bar(same("start"), first),
            "steps": [Bar(same(str(k)), v) for k, v in enumerate(steps)],
            "total": Bar(same("total"), last),
            "up": Text("up", "升"),
            "down": Text("down", "降"),
            "adverse": 1,
            "show": str,
            "show_change": str,
            "language": "en",
            **more,
        }
    )


def bars(svg):
    return [e for e in ET.fromstring(svg).iter() if e.get("data-kind")]


@given(st.integers(-(10**12), 10**12), st.lists(STEP, max_size=12), st.booleans())
def test_bars_sum_from_base_to_total(start, steps, from_zero):
    total = start + sum(s or 0 for s in steps)
    found = bars(drawn(start, steps, total, from_zero=from_zero))
    values = [int(b.get("data-value") or 0) for b in found]
    assert [b.get("data-kind") for b in found] == ["start", *["step"] * len(steps), "total"]
    assert sum(values[:-1]) == values[-1] == total


def test_bars_meet_end_to_end():
    found = bars(drawn(100, [-30, -20], 50))
    spans = [(float(b.get("x")), float(b.get("x")) + float(b.get("width"))) for b in found]
    assert spans[0][1] == pytest.approx(spans[1][1], abs=0.02)
    assert spans[1][0] == pytest.approx(spans[2][1], abs=0.02)
    assert spans[2][0] == pytest.approx(spans[3][1], abs=0.02)


def test_a_waterfall_that_does_not_sum_is_refused():
    with pytest.raises(InputError, match="does not sum"):
        drawn(100, [-30], 71)


def test_a_step_that_does_not_apply_is_a_dash_and_one_that_took_nothing_is_zero():
    texts = [e.text for e in ET.fromstring(drawn(100, [None, 0], 100)).iter() if e.text]
    assert "–" in texts
    assert "0" in texts


def test_a_picture_that_stands_alone_holds_both_languages():
    svg = drawn(1, [1], 2, language="both", start=Bar(Text("term", "项目"), 1))
    texts = [e.text for e in ET.fromstring(svg).iter()]
    assert "term" in texts
    assert "项目" in texts


@pytest.mark.parametrize(
    ("texts", "codes"), [(CAP_TERM_TEXTS, CAP_TERMS), (RATE_COMPONENT_TEXTS, RATE_COMPONENTS)]
)
def test_every_term_has_a_name_and_a_meaning_in_both_languages(texts, codes):
    assert tuple(texts) == codes
    for term in texts.values():
        for text in term:
            assert text.en.isascii()
            assert not text.zh.isascii()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (money("1234567.00", "CNY"), "CNY 1,234,567"),
        (money("0.10", "CNY"), "CNY 0.10"),
        (money(None, "CNY"), "–"),
        (number(float("nan")), "–"),
        (number(-0.2), "0"),
        (number(-1234), "−1,234"),
        (percent(0.000123), "0.012 %"),
        (percent(0.0), "0 %"),
        (percent(1.0), "100 %"),
        (percent(0.999999), "100.0 %"),
    ],
)
def test_numbers_read_as_people_write_them(shown, expected):
    assert shown == expected


def test_feature_values_carry_their_unit_in_both_languages():
    assert feature_value("calls_250_sessions", 2, "CNY") == Text("2 calls", "2 次")
    assert feature_value("largest_weight_ratio", 734_000, "CNY") == same("73.4 %")
    assert feature_value("declared_income_amt", 5_000_000, "CNY") == same("CNY 50,000")
    assert feature_value("largest_weight_ratio", None, "CNY").zh == "无数据"


def test_a_long_label_is_cut_to_its_width():
    assert text_width(fitted("一二三四五六七八九十" * 4, 100)) <= 100


@given(st.lists(st.integers(1000, 9000), min_size=1, max_size=60))
def test_no_value_falls_outside_the_bins(values):
    edges, is_open = bin_edges(np.array(values, dtype=np.float64))
    assert edges[0] <= min(values)
    assert is_open or edges[-1] >= max(values)
    assert 2 <= len(edges) <= 40
