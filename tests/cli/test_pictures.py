"""``gearline pictures``: what is drawn is what the bundle says, in two languages."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gearline
from data_contracts.units import LOG_ODDS_ONE
from models.scorer import Reference
from training.estimator import AdditiveBoosterClassifier
from training.pictures import draw
from training.pictures.shapes import bands_of, pictured
from training.recipe import Recipe
from training.table_bundle import TableBundle
from training.table_probability import fit_probability

ROUNDING = 1e-6
"""Bands are stored with nine decimals."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A folder with a fitted bundle and its table: a direction, a code, a category, gaps."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    n = 1200
    debt, income = rng.random(n), rng.normal(size=n)
    purpose = rng.choice(["car", "house", "other"], n)
    z = 4 * debt - income * (purpose == "car") + (purpose == "other") - 2.5
    label = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.int64)
    debt[rng.random(n) < 0.1] = -7
    income[rng.random(n) < 0.1] = np.nan
    table = pd.DataFrame({"debt": debt, "income": income, "purpose": purpose})
    table.to_csv(root / "new.csv", index=False)
    model = AdditiveBoosterClassifier(
        recipe=Recipe(n_bags=3, max_rounds=30), categorical=["purpose"], monotone={"debt": 1},
        special={"debt": [-7]}, random_state=1,
    ).fit(table, label)  # fmt: skip
    served = model.tables_
    counts = Reference.of(served.tables.effects, served.front.encode(model.reference_))
    made = TableBundle(
        model.encoder_, served, fit_probability(model.tables_score(table), label, 1),
        counts.to_json(), {"target": "bad"}, bands_of(model.bags_tables(), served, counts),
    )  # fmt: skip
    made.write(root / "bundle")
    return root / "bundle"


def test_a_main_effect_keeps_its_direction_and_lies_between_those_of_the_bags(bundle: Path):
    found = pictured(bundle)
    shapes = {s.axis.name.en: s for s in found.shapes}
    assert set(shapes) == {"debt", "income", "purpose", "debt = -7"}
    assert np.diff(shapes["debt"].effect[1:]).min() >= -ROUNDING
    for shape in found.shapes:
        assert shape.low is not None
        assert shape.high is not None
        assert np.all(shape.low <= shape.effect + ROUNDING)
        assert np.all(shape.effect <= shape.high + ROUNDING)
        assert float(np.max(shape.high - shape.low)) > 0.01
        assert len(shape.effect) == len(shape.count) == shape.axis.bins + 1
        assert shape.count.sum() > 500


def test_the_drawn_effects_add_up_to_the_score_of_every_row(bundle: Path):
    read, found = TableBundle.read(bundle), pictured(bundle)
    values = pd.read_csv(bundle.parent / "new.csv")
    levels = read.encoder.features[2].levels
    assert levels is not None
    rows = [
        (debt, income, levels.index(purpose)) for debt, income, purpose in values.itertuples(False)
    ]
    score = read.tables.score(read.encoder.encode(np.array(rows, dtype=np.float64)))

    def bin_of(axis, row):
        debt, income, place = row
        if axis.name.en == "purpose":
            return 1 + axis.labels.index(levels[int(place)])
        if axis.name.en == "debt = -7":
            return 1 + axis.labels.index("yes" if debt == -7 else "no")
        value = income if axis.name.en == "income" else (np.nan if debt == -7 else debt)
        return 0 if np.isnan(value) else 1 + int(np.searchsorted(axis.edges, value, side="left"))

    total = np.zeros(len(rows))
    for r, row in enumerate(rows):
        total[r] = sum(s.effect[bin_of(s.axis, row)] for s in found.shapes)
        total[r] += sum(h.effect[bin_of(h.first, row), bin_of(h.second, row)] for h in found.heats)
    rest = score / LOG_ODDS_ONE - total
    assert len(found.heats) > 0
    assert np.ptp(rest) < ROUNDING


def test_pictures_are_written_in_both_languages_and_the_same_twice(
    bundle, cli, tmp_path, undocumented
):
    asked = ("pictures", bundle, "--table", bundle.parent / "new.csv", "--row", 3, "--most", 2)
    ran = cli(*asked, "--out", tmp_path / "a", "--json")
    assert ran.code == gearline.DONE, ran.err
    assert undocumented("pictures", ran.document) == []
    assert ran.document["bands"] is True
    assert cli(*asked, "--out", tmp_path / "b").code == gearline.DONE
    files = ran.document["files"]
    assert len([f for f in files if f.endswith(".svg")]) == 5
    for name in files:
        first = (tmp_path / "a" / name).read_bytes()
        assert first == (tmp_path / "b" / name).read_bytes()
        if name.endswith(".svg"):
            text = "".join(ET.fromstring(first).itertext())
            assert "part of the log-odds" in text
            assert "对数几率贡献" in text
        else:
            assert first.startswith(b"\x89PNG")
    waterfall = next(f for f in files if f.startswith("waterfall") and f.endswith(".svg"))
    shown = "".join(ET.fromstring((tmp_path / "a" / waterfall).read_bytes()).itertext())
    steps = [float(x.replace("−", "-")) for x in re.findall(r"[+−]\d\.\d{3}", shown)]
    read = TableBundle.read(bundle)
    base = read.tables.base_attribution / LOG_ODDS_ONE
    ends = [s for s in steps if abs(s - base) < 0.0006]
    assert ends, "the mean score is among the numbers drawn"


def test_a_bundle_without_bags_is_drawn_without_a_band(bundle, tmp_path):
    replace(TableBundle.read(bundle), bands=None).write(tmp_path / "plain")
    assert all(s.low is None for s in pictured(tmp_path / "plain").shapes)


def test_without_a_chinese_font_only_pictures_in_english_are_png(
    bundle, cli, tmp_path, monkeypatch
):
    monkeypatch.setattr(draw, "chinese_font", lambda: None)
    ran = cli("pictures", bundle, "--out", tmp_path / "a", "--most", 1, "--json")
    assert ran.document["kinds"] == ["svg"]
    ran = cli("pictures", bundle, "--out", tmp_path / "b", "--most", 1, "--lang", "en", "--json")
    assert ran.document["kinds"] == ["svg", "png"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--row", 9), "--table and --row go together"),
        (("--most", 0), "--most is 0; it must be at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(bundle, cli, tmp_path, more, said):
    ran = cli("pictures", bundle, "--out", tmp_path / "x", *more)
    assert ran.code == gearline.REFUSED
    assert said in ran.err


def test_a_row_that_the_table_does_not_have_is_refused_with_its_range(bundle, cli, tmp_path):
    table = ("--table", bundle.parent / "new.csv", "--row", 1200)
    ran = cli("pictures", bundle, "--out", tmp_path / "x", "--most", 1, *table)
    assert ran.code == gearline.REFUSED
    assert "--row is 1200" in ran.err
    assert "has rows 0 to 1199" in ran.err
