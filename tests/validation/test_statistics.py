"""The statistics against exact fractions, published figures and other libraries; and their edges."""

import math
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from data_contracts.errors import InputError
from training.validation import backtests, calibration, curves, discrimination, scores, stability
from training.validation.checkers import CHECKERS
from training.validation.result import false_discovery, family_wise
from training.validation.vectors import check_file, own_folder, self_test

ROUNDING = 1e-12


def book(seed, n=400, levels=None):
    """Probabilities, and outcomes drawn from them."""
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-rng.normal(-1.2, 1.1, n)))
    if levels:
        p = np.round(p * levels) / levels * 0.98 + 0.01
    return p, (rng.random(n) < p).astype(np.int64)


def test_every_reference_number_is_reproduced_to_its_tolerance():
    result = self_test()
    assert result.checked > 200
    assert [c for checks in result.by_file.values() for c in checks if not c.ok] == []


@pytest.mark.parametrize("name", sorted(p.name for p in own_folder().glob("*.json")))
def test_a_wrong_reference_number_is_found(name):
    for check in check_file(own_folder() / name):
        assert check.ok
        if check.expected is None:
            assert not replace(check, found=0.5).ok
            continue
        for wrong in (check.expected + 1e-3, None, math.nan):
            assert not replace(check, expected=wrong).ok


def test_a_changed_file_is_found_out(tmp_path):
    path = Path(shutil.copy(own_folder() / "psi.json", tmp_path))
    document = orjson.loads(path.read_bytes())
    document["cases"][0]["psi"] += 1e-9
    path.write_bytes(orjson.dumps(document))
    found = self_test(tmp_path)
    assert (found.checked, found.failed) == (6, 2)


def test_a_file_that_no_checker_reads_and_a_damaged_one_are_refused(tmp_path):
    (tmp_path / "unknown.json").write_text("{}")
    with pytest.raises(InputError, match=r"unknown\.json is no vectors file known here; there are"):
        self_test(tmp_path)
    (tmp_path / "unknown.json").rename(tmp_path / "psi.json")
    with pytest.raises(InputError, match=r"psi\.json is damaged: KeyError 'cases'"):
        self_test(tmp_path)
    with pytest.raises(InputError, match="holds no vectors"):
        self_test(tmp_path / "nowhere")
    assert {p.stem for p in own_folder().glob("*.json")} <= set(CHECKERS)


# --- figures of other sources, typed in ---------------------------------------------------------


def test_jeffreys_of_the_ecb_example_and_of_a_grade_without_default():
    assert calibration.jeffreys(1000, 10, 0.01).p_value == pytest.approx(0.479056806, abs=5e-10)
    assert calibration.jeffreys(500, 10, 0.01).p_value == pytest.approx(0.020504624, abs=5e-10)
    assert calibration.jeffreys(200, 0, 0.01).p_value == pytest.approx(0.955173814, abs=5e-10)


def test_psi_of_a_tenth_moved_is_a_tenth_of_the_logarithm_of_one_and_a_half():
    found = stability.psi_of_shares(np.array([0.5, 0.5]), np.array([0.6, 0.4]))
    assert found == pytest.approx(0.1 * math.log(1.5), abs=ROUNDING)


def test_the_multi_year_traffic_light_agrees_with_the_working_papers_simulated_sizes():
    # BCBS WP14 table 7, row I_LC: .104 .062 .030 .013 .005 .001 at finite N, five years
    for confidence, simulated in (("9/10", 0.104), ("19/20", 0.062), ("99/100", 0.013)):
        found = backtests.traffic_critical(5, Fraction(confidence))
        assert found is not None
        assert float(found[1]) == pytest.approx(simulated, abs=0.03)
        assert float(found[1]) < 1 - float(Fraction(confidence))


def test_basels_green_zone_ends_at_four_exceptions_with_89_22_percent():
    assert backtests.basel_zone(4) == ("green", 0.0)
    assert backtests.basel_zone(9) == ("yellow", 0.85)
    assert backtests.basel_zone(10) == ("red", 1.0)
    assert 1 - backtests.exceptions_tail(5) == pytest.approx(0.8922, abs=5e-5)
    assert 1 - backtests.exceptions_tail(10) == pytest.approx(0.9997, abs=5e-5)


def test_the_printed_bandwidths_of_mathworks():
    counts = np.array([[10, 8, 15, 9, 10], [11, 9, 13, 9, 8], [0, 10, 10, 11, 10],
                       [0, 0, 9, 11, 11], [0, 0, 0, 11, 10]])  # fmt: skip
    lower, upper = stability.matrix_weighted_bandwidth(counts)
    assert lower == pytest.approx(0.3306, abs=5e-5)
    assert upper == pytest.approx(0.6066, abs=5e-5)


def test_migration_counts_of_leavers_and_defaults_are_among_the_destinations():
    square = np.array([[50, 10], [5, 60]])
    with_leavers = np.column_stack([square, [3, 7], [0, 0], [20, 10]])
    assert stability.migration(with_leavers).probability[0][0] == pytest.approx(50 / 83)
    assert stability.migration(square).probability[0][0] == pytest.approx(50 / 60)
    bandwidths = [stability.matrix_weighted_bandwidth(c) for c in (square, with_leavers)]
    assert bandwidths[0] == bandwidths[1]


# --- other libraries ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_auc_brier_and_log_loss_are_scikit_learns(seed):
    p, y = book(seed, levels=40)
    assert discrimination.auc_delong(p, y).value == pytest.approx(roc_auc_score(y, p), abs=ROUNDING)
    assert scores.brier(p, y) == pytest.approx(brier_score_loss(y, p), abs=ROUNDING)
    assert scores.log_loss(p, y) == pytest.approx(sklearn_log_loss(y, p), abs=ROUNDING)


@pytest.mark.parametrize("seed", range(3))
def test_the_corp_recalibration_is_scikit_learns_isotonic_regression(seed):
    p, y = book(seed, levels=60)
    theirs = IsotonicRegression().fit(p, y).predict(p)
    assert scores.isotonic(p, y) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_coxs_line_is_an_unpenalised_logistic_regression(seed):
    p, y = book(seed)
    x = np.log(p / (1 - p))[:, None]
    theirs = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(
        x, y
    )
    found = calibration.cox(p, y)
    assert found.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-6)
    assert found.intercept == pytest.approx(theirs.intercept_[0], abs=1e-6)


def test_ks_is_scipys_distance_and_its_asymptotic_p_value():
    p, y = book(5)
    found = curves.kolmogorov_smirnov(p, y)
    theirs = stats.ks_2samp(p[y == 1], p[y == 0], method="asymp")
    assert found.statistic == pytest.approx(theirs.statistic, abs=ROUNDING)
    # scipy's own approximation has a finite-sample correction, which the limit has not
    assert found.p_value == pytest.approx(theirs.pvalue, abs=0.01)


def test_the_binomial_test_is_scipys():
    for n, d, pd in ((200, 5, 0.01), (50, 0, 0.1), (30, 30, 0.5)):
        theirs = stats.binomtest(d, n, pd, alternative="greater").pvalue
        assert calibration.binomial(n, d, pd).p_value == pytest.approx(theirs, rel=1e-10)


def test_without_correlation_the_correlated_test_is_the_binomial_one():
    found = calibration.correlated_binomial(400, 9, 0.01, 0.0)
    assert found.test.p_value == pytest.approx(
        calibration.binomial(400, 9, 0.01).p_value, rel=1e-12
    )
    assert found.critical == int(stats.binom.isf(0.05, 400, 0.01)) + 1


def test_correlation_moves_the_critical_number_towards_the_large_book_limit():
    found = calibration.correlated_binomial(100_000, 0, 0.02, 0.1)
    assert found.critical is not None
    assert found.critical_limit is not None
    assert found.critical == pytest.approx(found.critical_limit, rel=0.01)


# --- laws -----------------------------------------------------------------------------------------

BOOKS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=8, max_size=60).filter(
    lambda rows: 2 <= sum(y for _, y in rows) <= len(rows) - 2
)


@given(BOOKS)
@settings(max_examples=80, deadline=None)
def test_turning_the_score_round_turns_the_auc_round_and_keeps_its_variance(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    one, other = discrimination.auc_delong(s, y), discrimination.auc_delong(-s, y)
    assert one.value + other.value == pytest.approx(1.0, abs=ROUNDING)
    assert one.variance == pytest.approx(other.variance, abs=ROUNDING)
    assert curves.accuracy_ratio(s, y) == pytest.approx(2 * one.value - 1, abs=1e-9)


@given(BOOKS)
@settings(max_examples=80, deadline=None)
def test_any_increasing_map_of_the_score_changes_nothing_that_ranks(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    t = np.exp(s / 2.0) + 3.0
    assert discrimination.auc_delong(s, y) == discrimination.auc_delong(t, y)
    assert curves.kolmogorov_smirnov(s, y) == curves.kolmogorov_smirnov(t, y)
    assert curves.h_measure(s, y) == curves.h_measure(t, y)
    period = np.arange(len(s)) % 2
    assert discrimination.auc_pooled(s, y, period) == discrimination.auc_pooled(t, y, period)


@given(BOOKS)
@settings(max_examples=60, deadline=None)
def test_the_parts_of_a_proper_score_sum_to_it_and_none_is_negative(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    p = (s + 1) / 9.0
    for kind, own in (("brier", scores.brier(p, y)), ("log_loss", scores.log_loss(p, y))):
        parts = scores.corp(p, y, kind)
        assert parts.score == pytest.approx(own, abs=1e-12)
        total = parts.miscalibration - parts.discrimination + parts.uncertainty
        assert total == pytest.approx(own, abs=1e-12)
        assert parts.miscalibration >= -1e-12
        assert parts.discrimination >= -1e-12
    grades, place = np.unique(s, return_inverse=True)
    n, d = np.bincount(place), np.bincount(place, weights=y).astype(int)
    assert scores.murphy(n, d, (grades + 1) / 9.0).score == pytest.approx(scores.brier(p, y))


@given(BOOKS)
@settings(max_examples=60, deadline=None)
def test_the_h_measure_lies_between_nothing_and_all(rows):
    s, y = (np.array(c) for c in zip(*rows, strict=True))
    assert -1e-9 <= curves.h_measure(s, y) <= 1 + 1e-9
    assert curves.h_measure(y, y) == pytest.approx(1.0)
    assert curves.h_measure(np.zeros(len(y)), y) == pytest.approx(0.0, abs=1e-12)


def test_the_pooled_auc_is_not_taken_in_by_a_shift_of_the_whole_book():
    rng = np.random.default_rng(3)
    period = np.repeat([0, 1], 2000)
    grade = rng.integers(1, 6, 4000) + 3 * period  # no discrimination within a period
    y = (rng.random(4000) < np.where(period, 0.2, 0.02)).astype(np.int64)
    naive = discrimination.auc_delong(grade, y).value
    pooled = discrimination.auc_pooled(grade, y, period)
    assert naive > 0.65
    assert pooled.low < 0.5 < pooled.high or abs(pooled.value - 0.5) < 0.03


def test_the_expected_and_the_first_population_of_a_psi_may_change_places():
    a, b = np.array([40, 30, 30]), np.array([10, 50, 40])
    assert stability.psi(a, b).value == pytest.approx(stability.psi(b, a).value, abs=ROUNDING)


def test_an_empty_cell_does_not_make_the_psi_explode():
    found = stability.psi(np.array([500, 480, 20]), np.array([510, 490, 0]))
    assert found.adjusted
    assert found.value < 0.2
    with_floor = sum(
        (a - e) * math.log(a / e) for e, a in ((0.5, 0.51), (0.48, 0.49), (0.02, 1e-10))
    )
    assert with_floor > 0.3


@pytest.mark.long
@pytest.mark.parametrize("statistic", ["psi", "spiegelhalter", "ratio", "initial", "grades"])
def test_under_the_null_a_test_at_five_percent_rejects_about_five_in_a_hundred(statistic):
    rng = np.random.default_rng(11)
    rejected, runs = 0, 400
    for _ in range(runs):
        p = rng.beta(1.5, 9, 1500)
        y = (rng.random(1500) < p).astype(np.int64)
        grade = np.digitize(p, [0.03, 0.08, 0.15, 0.25])
        if statistic == "psi":
            test = stability.psi(
                np.bincount(rng.integers(0, 8, 4000), minlength=8),
                np.bincount(rng.integers(0, 8, 1500), minlength=8),
            ).test
        elif statistic == "spiegelhalter":
            test = calibration.spiegelhalter(p, y)
        elif statistic == "ratio":
            test = calibration.observed_to_expected(p, y)[1]
        elif statistic == "initial":
            test = discrimination.auc_initial_current(TRUE_AUC, grade, y)
        else:
            n = np.bincount(grade, minlength=5)
            mean = np.bincount(grade, weights=p, minlength=5) / n
            d = np.bincount(grade, weights=y, minlength=5).astype(int)
            test = calibration.hosmer_lemeshow(n, d, mean)
        rejected += test.p_value < 0.05
    low, high = stats.binom.interval(0.999, runs, 0.05)
    assert low <= rejected <= high


TRUE_AUC = 0.7160
"""AUC of the five grades of the beta(1.5, 9) book, over four million draws, as the test below finds."""


@pytest.mark.long
def test_the_true_auc_of_the_grades_is_what_the_test_above_takes_it_for():
    rng = np.random.default_rng(1)
    p = rng.beta(1.5, 9, 4_000_000)
    y = (rng.random(len(p)) < p).astype(np.int64)
    found = discrimination.auc_delong(np.digitize(p, [0.03, 0.08, 0.15, 0.25]), y)
    assert found.value == pytest.approx(TRUE_AUC, abs=1e-3)


def test_the_stated_power_is_what_a_simulation_finds():
    rng = np.random.default_rng(4)
    n, pd = 600, 0.03
    shift = calibration.binomial(n, 20, pd).detectable
    draws = rng.binomial(n, pd + shift, 20_000)
    found = np.mean([calibration.binomial(n, int(d), pd).p_value <= 0.05 for d in draws[:4000]])
    assert found == pytest.approx(0.8, abs=0.03)


def test_the_shift_that_hosmer_lemeshow_finds_is_found_as_often_as_stated():
    rng = np.random.default_rng(6)
    n, pd = np.array([800, 900, 700]), np.array([0.05, 0.1, 0.2])
    shift = calibration.hosmer_lemeshow(n, np.array([40, 90, 140]), pd).detectable
    found = 0
    for _ in range(1500):
        d = rng.binomial(n, pd * (1 + shift))
        found += calibration.hosmer_lemeshow(n, d, pd).p_value < 0.05
    assert found / 1500 == pytest.approx(0.8, abs=0.05)


def test_one_bad_period_of_many_is_one_observation_and_not_as_many_as_it_has_cases():
    p = np.full(500, 0.05)
    y = np.zeros(500, dtype=np.int64)
    y[:80] = 1
    alone = calibration.observed_to_expected(p, y)[1]
    period = np.zeros(500, dtype=np.int64)
    shared = calibration.observed_to_expected(p, y, period, periods=6)[1]
    assert alone.p_value < 1e-20
    assert shared.p_value == pytest.approx(2 * stats.t(5).sf(1.0), abs=1e-9)


def test_a_shift_in_every_period_is_found_though_events_share_their_market():
    p = np.full(2400, 0.05)
    period = np.repeat(np.arange(8), 300)
    y = (np.arange(2400) % 10 == 0).astype(np.int64)  # a tenth in every period
    found = calibration.observed_to_expected(p, y, period)
    assert found[0] == pytest.approx(2.0)
    assert found[1].p_value < 1e-4


# --- undefined is None ----------------------------------------------------------------------------


def test_what_is_undefined_is_none_and_never_a_number():
    nobody, one_class = np.array([], dtype=np.int64), np.zeros(5, dtype=np.int64)
    p = np.full(5, 0.2)
    assert discrimination.auc_delong(p, one_class).value is None
    assert discrimination.auc_delong(np.arange(3.0), np.array([0, 0, 1])).variance is None
    assert discrimination.auc_initial_current(0.7, p, one_class).p_value is None
    assert curves.kolmogorov_smirnov(p, one_class).statistic is None
    assert curves.accuracy_ratio(p, one_class) is None
    assert curves.h_measure(p, one_class) is None
    assert curves.cier(np.array([5, 5]), np.array([0, 0])).value is None
    assert curves.information_value(np.array([5, 5]), np.array([0, 0])).value is None
    assert calibration.jeffreys(0, 0, 0.1).p_value is None
    assert calibration.cox(np.array([0.0, 0.5]), np.array([0, 1])).slope is None
    assert calibration.cox(p, one_class).intercept is None
    assert calibration.spiegelhalter(np.full(5, 0.5), one_class).p_value is None
    assert (
        calibration.hosmer_lemeshow(np.array([5]), np.array([1]), np.array([1.0])).p_value is None
    )
    assert backtests.normal_test(np.array([0.1]), np.array([0.2])).p_value is None
    assert scores.brier(p[:0], nobody) is None
    assert scores.log_loss(np.array([0.0]), np.array([1])) is None
    assert stability.psi(np.array([0, 0]), np.array([1, 2])).value is None
    assert stability.concentration(np.array([3])).herfindahl is None
    assert stability.matrix_weighted_bandwidth(np.diag([3, 4])) == (None, None)
    assert false_discovery([None, 0.2]) == [None, 0.2]
    assert family_wise([None]) == [None]


def test_uniform_concentration_has_no_p_value_and_one_grade_is_all():
    even = np.array([100] * 5)
    assert stability.concentration_change(even, even).p_value is None
    assert stability.concentration(np.array([7, 0, 0, 0])).herfindahl == pytest.approx(1.0)


def test_degrees_of_freedom_follow_the_convention_and_are_printed():
    n, d, pd = np.array([500, 800, 1200]), np.array([2, 9, 24]), np.array([0.005, 0.01, 0.02])
    fixed = calibration.hosmer_lemeshow(n, d, pd)
    fitted = calibration.hosmer_lemeshow(n, d, pd, exogenous=False)
    assert (fixed.df, fitted.df) == (3, 1)
    assert fixed.convention.startswith("df = 3: one for each grade")
    assert fitted.convention.startswith("df = 1: grades less 2, in-sample")
    with_empty = calibration.hosmer_lemeshow(np.r_[n, 0], np.r_[d, 0], np.r_[pd, 0.3])
    assert with_empty.df == 3


def test_labels_other_than_0_and_1_are_refused():
    with pytest.raises(ValueError, match="labels must be 0 or 1; leave censored rows out"):
        discrimination.auc_delong(np.arange(3.0), np.array([0, 1, -1]))


def test_spiegelhalter_on_grade_averages_is_another_number_than_on_single_cases():
    n, d, pd = np.array([40, 60]), np.array([6, 3]), np.array([0.1, 0.05])
    p = np.repeat(pd, n)
    y = np.concatenate([np.repeat([1, 0], [k, m - k]) for m, k in zip(n, d, strict=True)])
    rows = calibration.spiegelhalter(p, y).statistic
    averages = calibration.spiegelhalter(pd, d / n).statistic
    assert abs(rows - averages) > 0.3


def test_false_discovery_figures_stand_beside_p_values_and_never_below_them():
    p = [0.001, 0.2, None, 0.03, 0.04]
    q, holm = false_discovery(p), family_wise(p)
    assert all(a is None if b is None else a >= b for a, b in zip(q, p, strict=True))
    assert all(a is None if b is None else a >= b for a, b in zip(holm, q, strict=True))
