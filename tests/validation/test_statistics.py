"""The statistics against exact fractions, published figures and other libraries; and their edges."""

import math
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import orjson
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from data_contracts.errors import InputError
from tests.validation.outcomes import ROUNDING, book
from training.validation import backtests, calibration, curves, discrimination, scores, stability
from training.validation.checkers import CHECKERS
from training.validation.result import false_discovery, family_wise
from training.validation.vectors import check_file, own_folder, self_test


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
