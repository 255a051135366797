"""What people do to tables: each operation keeps its promise, and says what it changed."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, NULL, IntArray
from models.scorer import AdditiveTables, Effect, Reference, compile_float_booster
from models.scorer.change import change_attributions
from models.scorer.limits import score_range
from models.scorer.monotonise import isotonic, monotonised
from models.scorer.operations import diff_tables, edited, importances, merged, pruned, tables_sha256
from models.scorer.purify import purified
from models.scorer.reference import merge_small
from models.scorer.tables import explained_effect, monotone_violations
from tests.models.builders import make_bundle

VECTORS = Path(__file__).parent.parent / "vectors"
PROOF = 1e-9
small = st.integers(-(2**41), 2**41)
points = st.lists(st.integers(-20, 20), min_size=0, max_size=4, unique=True).map(sorted)


@st.composite
def table_sets(draw: st.DrawFn) -> tuple[AdditiveTables, Reference, IntArray]:
    """Tables over three features, a main and up to three pairs, and 30 reference rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(-25, 25, size=(30, 3))
    rows[rng.random(rows.shape) < 0.15] = NULL
    chosen = draw(st.sets(st.sampled_from([(0,), (2,), (0, 1), (0, 2), (1, 2)]), min_size=1))
    effects = []
    for features in sorted(chosen, key=lambda f: (len(f), f)):
        splits = tuple(np.array(draw(points), dtype=np.int64) for _ in features)
        shape = tuple(len(s) + 2 for s in splits)
        score = rng.integers(-(2**41), 2**41, size=shape)
        zero = np.zeros(shape, dtype=np.int64)
        bare = Effect(features, splits, 0, score, score if len(features) == 1 else zero)
        counts = Reference.of([bare], rows).counts[0]
        effects.append(explained_effect(features, splits, score, counts))
    tables = AdditiveTables("h", 3, draw(small), tuple(effects))
    return tables, Reference.of(tables.effects, rows), rows


def _rows(seed: int, n: int = 60) -> IntArray:
    rng = np.random.default_rng(seed)
    x = rng.integers(-25, 25, size=(n, 3))
    x[rng.random(x.shape) < 0.2] = NULL
    return x


def _by_coalitions(tables: AdditiveTables, before: IntArray, after: IntArray) -> list[Fraction]:
    """Shapley values of the change by all coalitions, exactly."""

    def value(taken: tuple[int, ...]) -> int:
        row = before.copy()
        row[list(taken)] = after[list(taken)]
        return int(tables.plain_score_and_attributions(row[None])[0][0])

    shares = []
    for f in range(3):
        others = [g for g in range(3) if g != f]
        total = Fraction(0)
        for size, weight in ((0, Fraction(1, 3)), (1, Fraction(1, 6)), (2, Fraction(1, 3))):
            for taken in itertools.combinations(others, size):
                total += weight * (value((*taken, f)) - value(taken))
        shares.append(total)
    return shares


@given(table_sets(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_change_attributions_are_the_shapley_values_of_all_coalitions(made, seed):
    tables, _, _ = made
    before, after = _rows(seed, 5), _rows(seed + 1, 5)
    after[:, 0] = before[:, 0]
    change, phi = change_attributions(tables, before, after)
    assert np.array_equal(change, tables.score(after) - tables.score(before))
    assert not phi[:, 0].any()
    for k in range(5):
        for ours, exact in zip(phi[k], _by_coalitions(tables, before[k], after[k]), strict=True):
            assert abs(int(ours) - exact) <= 2  # halves are rounded, one for each pair


@given(table_sets())
@settings(max_examples=60, deadline=None)
def test_attributions_are_the_shapley_values_against_the_joint_counts(made):
    tables, reference, _ = made
    x = _rows(5)
    _, phi = tables.score_and_attributions(x)
    expected = np.zeros(phi.shape)
    for e, counts in zip(tables.effects, reference.counts, strict=True):
        cells, weight = e.cells(x), counts / counts.sum()
        g = e.score.astype(np.float64)
        mean = (g * weight).sum()
        if len(e.features) == 1:
            expected[:, e.features[0]] += g[cells] - mean
            continue
        of_i = (g * weight.sum(axis=0)[None, :]).sum(axis=1)[cells[0]]
        of_j = (g * weight.sum(axis=1)[:, None]).sum(axis=0)[cells[1]]
        expected[:, e.features[0]] += 0.5 * (of_i - mean + g[cells] - of_j)
        expected[:, e.features[1]] += 0.5 * (of_j - mean + g[cells] - of_i)
    assert np.abs(phi - expected).max() <= 2 * len(tables.effects)


@given(table_sets(), table_sets())
@settings(max_examples=60, deadline=None)
def test_merged_sets_score_as_their_sum_with_one_table_for_each_set_of_features(one, two):
    sets = [one[0], two[0]]
    whole = merged(sets)
    x = _rows(1)
    for part in (0, 1):
        parts = [s.score_and_attributions(x)[part] for s in sets]
        assert np.array_equal(whole.score_and_attributions(x)[part], parts[0] + parts[1])
    assert len({e.features for e in whole.effects}) == len(whole.effects)
    assert tables_sha256(merged([whole])) == tables_sha256(whole)


@given(table_sets(), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_no_score_moves_by_more_than_the_bound_of_what_was_pruned(made, least):
    tables, reference, _ = made
    result, bound = pruned(tables, reference, least)
    x = _rows(2)
    assert int(np.abs(result.tables.score(x) - tables.score(x)).max()) <= bound
    assert result.tables.base_attribution == tables.base_attribution
    kept = sum(i >= least for i in importances(tables, reference))
    assert len(result.tables.effects) == len(result.reference.counts) == kept
    dropped = [e["kind"] for e in result.diff["effects"]]
    assert dropped == ["dropped"] * (len(tables.effects) - kept)


@given(table_sets(), st.tuples(*[st.sampled_from([-1, 0, 1])] * 3))
@settings(max_examples=80, deadline=None)
def test_repaired_tables_pass_the_proof_and_a_second_repair_changes_nothing(made, directions):
    tables, reference, _ = made
    result = monotonised(tables, reference, directions)
    assert monotone_violations(result.tables, directions) == []
    again = monotonised(result.tables, result.reference, directions)
    assert tables_sha256(again.tables) == tables_sha256(result.tables)
    assert again.diff["effects"] == []
    if not monotone_violations(tables, directions):
        assert tables_sha256(result.tables) == tables_sha256(tables)
    x = _rows(3)
    score, phi = result.tables.score_and_attributions(x)
    assert np.array_equal(result.tables.base_attribution + phi.sum(axis=1), score)


def test_one_raised_cell_is_repaired_without_touching_other_columns():
    splits = (np.arange(4) * 10, np.arange(3) * 10)
    score = (np.arange(6)[:, None] + np.zeros(5, dtype=np.int64)) * LOG_ODDS_ONE
    counts = np.full((6, 5), 10)
    tables = AdditiveTables("h", 2, 0, (explained_effect((0, 1), splits, score, counts),))
    reference = Reference(5, (counts,))
    hurt = edited(tables, reference, (0, 1), {(2, 3): 9 * LOG_ODDS_ONE}).tables
    assert monotone_violations(hurt, (1, 0))
    fixed = monotonised(hurt, reference, (1, 0))
    changed = np.argwhere(fixed.tables.effects[-1].score != hurt.effects[0].score)
    assert set(changed[:, 1].tolist()) == {3}
    assert fixed.diff["effects"][0]["cells_changed"] > 0


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 5)), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_isotonic_regression_is_no_farther_than_any_other_ascending_sequence(pairs):
    values, weights = (np.array(p, dtype=np.float64) for p in zip(*pairs, strict=True))
    fitted = isotonic(values, weights)
    assert (np.diff(fitted) >= 0).all()
    cost = (weights * (fitted - values) ** 2).sum()
    for levels in itertools.combinations_with_replacement(sorted({*values, *fitted}), len(values)):
        assert cost <= (weights * (np.array(levels) - values) ** 2).sum() + PROOF


@given(table_sets())
@settings(max_examples=60, deadline=None)
def test_an_edit_sets_the_cell_changes_the_hash_and_is_listed(made):
    tables, reference, _ = made
    effect = tables.effects[0]
    cell = tuple(n - 1 for n in effect.score.shape)
    value = int(effect.score[cell]) + 12345
    result = edited(tables, reference, effect.features, {cell: value})
    assert int(result.tables.effects[0].score[cell]) == value
    assert result.diff["sha256_before"] != result.diff["sha256_after"]
    assert [e["kind"] for e in result.diff["effects"]] == ["changed"]
    assert result.diff["effects"][0]["largest_change"] == 12345
    assert result.diff["effects"][0]["cells_changed"] == 1
    assert diff_tables(tables, tables)["effects"] == []
    with pytest.raises(InputError, match="outside the table's"):
        edited(tables, reference, effect.features, {(99,) * len(cell): 0})


@given(table_sets())
@settings(max_examples=60, deadline=None)
def test_purified_effects_sum_to_the_score_and_their_means_are_zero(made):
    tables, reference, _ = made
    pure = purified(tables, reference)
    x = _rows(4)
    total = np.full(len(x), pure.base)
    for f, main in pure.mains.items():
        bare = Effect((f,), (pure.splits[f],), 0, *[np.zeros(len(main), dtype=np.int64)] * 2)
        total += main[bare.cells(x)[0]]
    for e, counts in zip(tables.effects, reference.counts, strict=True):
        if len(e.features) == 2:
            pair = pure.pairs[e.features[0], e.features[1]]
            total += pair[e.cells(x)]
            assert np.abs((pair * counts).sum(axis=0)).max() < 1e-6
            assert np.abs((pair * counts).sum(axis=1)).max() < 1e-6
    assert np.abs(total - tables.score(x) / LOG_ODDS_ONE).max() < PROOF


@given(table_sets())
@settings(max_examples=60, deadline=None)
def test_the_range_is_attained_by_its_witnesses_and_no_row_leaves_it(made):
    tables, _, _ = made
    found = score_range(tables)
    assert found.exact
    ends = tables.score(np.array([found.low_witness, found.high_witness]))
    assert ends.tolist() == [found.low, found.high]
    grid = [*range(-22, 23, 2), NULL]
    every = np.array(list(itertools.product(grid, repeat=3)), dtype=np.int64)
    score = tables.score(every)
    assert score.min() >= found.low
    assert score.max() <= found.high


def test_a_range_that_is_not_searched_whole_is_a_bound_and_says_so(monkeypatch):
    rng = np.random.default_rng(0)
    splits = (np.array([0]), np.array([0]))
    score = [rng.integers(-(2**40), 2**40, size=(3, 3)) for _ in range(3)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    effects = tuple(
        explained_effect(p, splits, s, np.ones((3, 3), dtype=np.int64))
        for p, s in zip(pairs, score, strict=True)
    )
    tables = AdditiveTables("h", 3, 0, effects)
    exact = score_range(tables)
    monkeypatch.setattr("models.scorer.limits.LARGEST_TABLE", 5)
    bound = score_range(tables)
    assert not bound.exact
    assert bound.low <= exact.low
    assert bound.high >= exact.high


@given(
    st.lists(st.lists(st.integers(0, 12), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(1, 9),
)
@settings(max_examples=100, deadline=None)
def test_merging_small_cells_keeps_every_row_and_leaves_no_small_cell(counts, least):
    before = np.array(counts, dtype=np.int64)
    after = merge_small(before, least)
    assert after.sum() == before.sum()
    if before.max() >= least:
        assert not ((after > 0) & (after < least)).any()
        assert (after[before >= least] >= before[before >= least]).all()
    else:
        assert np.count_nonzero(after) <= 1


@given(table_sets())
@settings(max_examples=30, deadline=None)
def test_reference_counts_read_back_and_carry_a_hash(made):
    _, reference, _ = made
    again = Reference.from_json(json.loads(json.dumps(reference.to_json())))
    assert again.sha256 == reference.sha256
    with pytest.raises(InputError, match="reference counts of format 7"):
        Reference.from_json({**reference.to_json(), "format": 7})


def test_interventional_values_do_not_depend_on_how_the_trees_grew():
    vector = json.loads((VECTORS / "shap_implementation_dependence.json").read_text())
    counts = np.zeros((3, 3), dtype=np.int64)
    for key, n in vector["background_counts"].items():
        counts[1 + int(key[0]), 1 + int(key[1])] = n
    score = np.zeros((3, 3), dtype=np.int64)
    score[2, 2] = LOG_ODDS_ONE
    splits = (np.array([0]), np.array([0]))
    tables = AdditiveTables("h", 2, 0, (explained_effect((0, 1), splits, score, counts),))
    x = np.array([vector["x"]]).astype(np.int64)
    _, phi = tables.score_and_attributions(x)
    exact = vector["results"]["brute_force_interventional"]
    assert phi[0] / LOG_ODDS_ONE == pytest.approx(exact["phi"], abs=1e-11)
    assert tables.base_attribution / LOG_ODDS_ONE == pytest.approx(exact["base"], abs=1e-11)


def test_the_vectors_booster_of_three_features_a_path_is_refused_and_its_pairs_agree():
    vector = json.loads((VECTORS / "shap_lightgbm_bruteforce.json").read_text())
    booster = lgb.Booster(model_str=vector["model_txt"])
    background, x = np.array(vector["background"]), np.array(vector["x"])
    with pytest.raises(InputError, match="a glass-box path uses at most two"):
        compile_float_booster(booster.dump_model(), background, "h")
    y = (background[:, 0] * background[:, 1] > 0).astype(np.float64)
    pairs = lgb.train(
        {"verbosity": -1, "min_data_in_leaf": 2, "min_data_in_bin": 1, "num_leaves": 4,
         "max_depth": 2, "objective": "binary", "num_threads": 1},
        lgb.Dataset(background, y),
        5,
    )  # fmt: skip
    compiled = compile_float_booster(pairs.dump_model(), background, "h")
    assert len(compiled.tables.effects) > 0
    phi = compiled.score_and_attributions(x)[1] / LOG_ODDS_ONE

    def value(row: np.ndarray, taken: tuple[int, ...]) -> float:
        rows = background.copy()
        rows[:, list(taken)] = row[list(taken)]
        return float(np.mean(np.asarray(pairs.predict(rows, raw_score=True))))

    weights = {0: 1 / 4, 1: 1 / 12, 2: 1 / 12, 3: 1 / 4}
    for k, row in enumerate(x):
        for f in range(4):
            others = [g for g in range(4) if g != f]
            brute = sum(
                weights[n] * (value(row, (*taken, f)) - value(row, taken))
                for n in range(4)
                for taken in itertools.combinations(others, n)
            )
            assert phi[k, f] == pytest.approx(brute, abs=PROOF)


def test_operations_refuse_what_does_not_belong_together():
    effect = explained_effect((0,), (np.array([1]),), np.array([0, 1, 2]), np.array([1, 1, 1]))
    tables = AdditiveTables("h", 1, 0, (effect,))
    with pytest.raises(InputError, match="the reference counts are of other tables"):
        importances(tables, Reference(1, ()))
    with pytest.raises(InputError, match="must read the same features"):
        merged([tables, replace(tables, n_features=2)])
    with pytest.raises(InputError, match="there are 0 effects of features"):
        edited(tables, Reference(1, (np.ones(3, dtype=np.int64),)), (3,), {})


def test_a_bundle_may_hold_the_counts_of_its_tables_and_an_old_one_has_none():
    small_bundle = make_bundle()
    assert small_bundle.joint_reference is None
    counts = tuple(np.full(e.score.shape, 7) for e in small_bundle.head.effects)
    joint = Reference(5, counts).to_json()
    new = replace(small_bundle, reference={**small_bundle.reference, "joint": joint})
    assert new.joint_reference is not None
    assert new.joint_reference.sha256 == Reference(5, counts).sha256
    assert new.sha256 != small_bundle.sha256
    short = {**joint, "tables": joint["tables"][:-1]}
    other = replace(small_bundle, reference={**small_bundle.reference, "joint": short})
    with pytest.raises(InputError, match="the reference counts are of other tables"):
        assert other.joint_reference
