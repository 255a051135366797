"""Float and categorical columns: the tables are the booster, on every value there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightgbm as lgb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.canonical import canonical_bytes
from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL, FloatArray
from models.scorer import AdditiveTables, CompiledFloat, FloatTables, compile_float_booster
from models.scorer.front import ZERO, codes_of_numbers, numbers_of_codes
from models.scorer.kernel import FOLDED, LARGE
from models.scorer.stream import score_parquet
from models.scorer.tables import explained_effect

# Sums of some hundred float64 leaves differ near 1e-14; 1e-9 leaves room and hides nothing.
PROOF = 1e-9
ROWS = 3000
PAIRS = [[0, 1], [2, 3], [3, 4], [0, 4]]
SPECIAL = [np.inf, -np.inf, np.nan, 0.0, -0.0, 5e-324, -5e-324, 1e-36, -1e-36, ZERO, -ZERO]
SPECIAL += [np.nextafter(ZERO, 1), -0.5, -1.0, 0.5, 3.7, 29.999, 31.0, 2.0**31, 1e10, 1e300, -1e300]

MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "categories": {"category": [2]},
    "categories by one-hot": {"category": [2], "max_cat_to_onehot": 64},
    "zero as missing": {"zero_as_missing": True},
    "categories, zero as missing": {"category": [2], "zero_as_missing": True},
    "missing not used": {"use_missing": False},
    "depth 2": {"max_depth": 2, "interaction_constraints": ""},
    "monotone": {"monotone_constraints": [1, -1, 0, 0, 0]},
    "DART": {"boosting": "dart"},
    "GOSS": {"data_sample_strategy": "goss"},
    "extra trees": {"extra_trees": True},
    "path smoothing": {"path_smooth": 5.0},
}


def sample(seed: int, rows: int = ROWS) -> tuple[FloatArray, FloatArray]:
    """Numbers on many scales, a category, coarse values, zeros and gaps."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    x[:, 1] = np.exp(4 * x[:, 1])
    x[:, 2] = rng.integers(0, 30, rows)
    x[:, 3] = np.round(x[:, 3], 1)
    x[rng.random(x.shape) < 0.05] = 0.0
    x[rng.random(x.shape) < 0.1] = np.nan
    z = np.nan_to_num(x[:, 0]) + np.sin(np.nan_to_num(x[:, 2])) * (np.nan_to_num(x[:, 3]) > 0)
    return x, (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(np.float64)


def train(x: FloatArray, y: FloatArray, **changes: Any) -> lgb.Booster:
    category = changes.pop("category", "auto")
    parameters = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_leaves": 8,
        "min_data_in_leaf": 10,
        "interaction_constraints": PAIRS,
        "seed": 3,
        **changes,
    }
    data = lgb.Dataset(x, y, categorical_feature=category, free_raw_data=False)
    return lgb.train(parameters, data, num_boost_round=30)


def hard_rows(booster: lgb.Booster, rows: int, seed: int) -> FloatArray:
    """Rows of usual values, special values, and values on and next to the thresholds."""
    rng = np.random.default_rng(seed)
    x = sample(seed, rows)[0]
    at: list[list[float]] = [[] for _ in range(5)]

    def visit(node: dict[str, Any]) -> None:
        if "split_index" in node:
            if node["decision_type"] == "<=":
                t = float(node["threshold"])
                at[node["split_feature"]] += [t, np.nextafter(t, -np.inf), np.nextafter(t, np.inf)]
            visit(node["left_child"])
            visit(node["right_child"])

    for tree in booster.dump_model()["tree_info"]:
        visit(tree["tree_structure"])
    for f in range(5):
        chosen = rng.random(rows) < 0.5
        x[chosen, f] = rng.choice(np.array(SPECIAL + at[f]), chosen.sum())
    return x


@pytest.mark.parametrize("name", MODELS)
def test_tables_equal_the_boosters_own_contributions_on_ten_thousand_hard_rows(name):
    x, y = sample(1)
    booster = train(x, y, **MODELS[name])
    compiled = compile_float_booster(booster.dump_model(), x[:500], "h")
    values = hard_rows(booster, 10_000, 2)
    own = np.asarray(booster.predict(values, pred_contrib=True, num_threads=1))
    assert np.abs(own - compiled.path_dependent(values)).max() < PROOF
    raw = np.asarray(booster.predict(values, raw_score=True, num_threads=1))
    score, phi = compiled.score_and_attributions(values)
    assert np.abs(score / LOG_ODDS_ONE - raw).max() < PROOF
    assert np.array_equal(compiled.tables.base_attribution + phi.sum(axis=1), score)
    plain = compiled.served.plain_score_and_attributions(values)
    assert np.array_equal(plain[0], score)
    assert np.array_equal(plain[1], phi)


def test_float32_columns_score_as_lightgbm_scores_them():
    x, y = sample(3)
    booster = train(x, y)
    compiled = compile_float_booster(booster.dump_model(), x[:500], "h")
    with np.errstate(over="ignore"):
        narrow = hard_rows(booster, 2000, 4).astype(np.float32)
    raw = np.asarray(booster.predict(narrow, raw_score=True, num_threads=1))
    assert np.abs(compiled.score(cast(FloatArray, narrow)) / LOG_ODDS_ONE - raw).max() < PROOF


def test_bags_become_one_set_of_tables_that_is_their_mean():
    x, y = sample(5)
    bags = [train(x, y, seed=s, bagging_fraction=0.6, bagging_freq=1) for s in range(4)]
    compiled = compile_float_booster([b.dump_model() for b in bags], x[:500], "h")
    values = hard_rows(bags[0], 2000, 6)
    mean = np.mean([b.predict(values, pred_contrib=True, num_threads=1) for b in bags], axis=0)
    assert np.abs(mean - compiled.path_dependent(values)).max() < PROOF
    assert len({e.features for e in compiled.tables.effects}) == len(compiled.tables.effects)


@pytest.fixture(scope="module")
def compiled() -> CompiledFloat:
    x, y = sample(7)
    return compile_float_booster(
        train(x, y, category=[2], zero_as_missing=True).dump_model(), x[:500], "h", least_cell=5
    )


def test_what_is_stored_reads_back_to_the_same_scores_and_bytes(compiled):
    document = canonical_bytes(compiled.to_json())
    again = CompiledFloat.from_json(orjson.loads(document))
    assert canonical_bytes(again.to_json()) == document
    x = sample(8)[0]
    for ours, theirs in zip(
        again.score_and_attributions(x), compiled.score_and_attributions(x), strict=True
    ):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("rows", [0, 1, 2, 8, 9, 511, 512, 513, 9000])
def test_any_number_of_rows_and_threads_gives_what_each_row_gives_alone(compiled, rows):
    x = sample(9, 9000)[0][:rows]
    score, phi = compiled.score_and_attributions(x)
    for threads in (1, 2, 3):
        again = compiled.served.score_and_attributions(x, threads=threads)
        assert np.array_equal(again[0], score)
        assert np.array_equal(again[1], phi)
    assert np.array_equal(compiled.score(x), score)
    for k in range(0, rows, 1000):
        alone = compiled.score_and_attributions(x[k : k + 1])
        assert alone[0][0] == score[k]
        assert np.array_equal(alone[1][0], phi[k])


def test_a_parquet_file_is_scored_as_the_same_rows_in_memory(compiled, tmp_path: Path):
    x = sample(10, 70_000)[0]
    names = [f"c{k}" for k in range(5)]
    table = pa.table({n: pa.array(x[:, k], from_pandas=True) for k, n in enumerate(names)})
    pq.write_table(table, tmp_path / "in.parquet")
    served = compiled.served
    done = score_parquet(served, names, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert done == len(x)
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.column_names == ["row", "log_odds", "phi:base", *(f"phi:{n}" for n in names)]
    score, phi = served.score_and_attributions(x)
    assert np.array_equal(out["log_odds"].to_numpy() * LOG_ODDS_ONE, score)
    for k, n in enumerate(names):
        assert np.array_equal(out[f"phi:{n}"].to_numpy() * LOG_ODDS_ONE, phi[:, k])
    summed = sum(out[c].to_numpy() for c in out.column_names[2:])
    assert np.array_equal(summed, out["log_odds"].to_numpy())
    with pytest.raises(InputError, match="has no column 'absent'"):
        score_parquet(
            served, [*names[:4], "absent"], tmp_path / "in.parquet", tmp_path / "o.parquet"
        )


def test_a_result_written_past_the_cache_equals_the_same_rows_in_small_parts(compiled):
    x = sample(11, 1000)[0]
    times = 1 + LARGE // x.size
    score, phi = compiled.score_and_attributions(np.tile(x, (times, 1)))
    assert phi.size >= LARGE
    few, few_phi = compiled.score_and_attributions(x)
    assert few_phi.size < LARGE
    assert np.array_equal(score.reshape(times, -1), np.tile(few, (times, 1)))
    assert np.array_equal(phi, np.tile(few_phi, (times, 1)))


def test_a_main_effect_is_laid_into_a_pair_only_where_the_pair_stays_small():
    rng = np.random.default_rng(0)
    many, few = np.arange(40), np.arange(3)
    effects = []
    for features, splits in (((0,), (many,)), ((1,), (few,)), ((0, 1), (few, few))):
        table = rng.integers(-1000, 1000, [len(s) + 2 for s in splits])
        count = np.ones_like(table)
        effects.append(explained_effect(features, splits, table, count))
    tables = AdditiveTables("h", 2, 5, tuple(effects))
    assert tables.plan.plans[:, FOLDED].tolist() == [0, 1]
    values = np.stack(np.meshgrid(np.append(NULL, np.arange(-2, 44)), np.arange(-2, 6)), -1)
    values = values.reshape(-1, 2)
    score, phi = tables.score_and_attributions(values)
    plain = tables.plain_score_and_attributions(values)
    assert np.array_equal(score, plain[0])
    assert np.array_equal(phi, plain[1])
    alone = [tables.score_and_attributions(values[k : k + 1])[1][0] for k in range(len(values))]
    assert np.array_equal(phi, alone)


def test_codes_that_begin_at_the_lowest_integers_are_told_from_missing_ones():
    splits = np.array([NULL + 1, NULL + 2, 0, 2**62], dtype=np.int64)
    table = np.arange(len(splits) + 2, dtype=np.int64)
    effect = explained_effect((0,), (splits,), table, np.ones_like(table))
    tables = AdditiveTables("h", 1, 0, (effect,))
    values = np.array([[NULL], [NULL + 1], [NULL + 2], [NULL + 3], [0], [1], [2**62], [2**63 - 1]])
    assert tables.score(np.tile(values, (3, 1)))[:8].tolist() == [0, 1, 2, 3, 3, 4, 4, 5]
    assert [int(tables.score_and_attributions(v[None])[0][0]) for v in values] == [
        0, 1, 2, 3, 3, 4, 4, 5
    ]  # fmt: skip


@given(st.lists(st.floats(), min_size=2, max_size=20))
@settings(max_examples=200, deadline=None)
def test_codes_order_as_numbers_do_and_read_back(numbers):
    values = np.array(numbers) + 0.0
    codes = codes_of_numbers(values)
    assert np.array_equal(numbers_of_codes(codes), values, equal_nan=True)
    known = ~np.isnan(values)
    ordered = values[known][np.argsort(codes[known], kind="stable")]
    assert (ordered[1:] >= ordered[:-1]).all()


def test_a_table_of_another_width_or_format_is_refused(compiled):
    with pytest.raises(InputError, match="the model reads 5 columns"):
        compiled.score(np.zeros((3, 4)))
    with pytest.raises(InputError, match="float tables of format 9; this version reads 1"):
        FloatTables.from_json({**compiled.to_json(), "format": 9})
    with pytest.raises(InputError, match="must be a C-ordered int64 array of shape"):
        compiled.served.score_and_attributions(
            np.zeros((3, 5)), out=(np.zeros(3, dtype=np.int64), np.zeros((3, 4), dtype=np.int64))
        )
