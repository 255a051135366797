"""The files of statistics: rankings, tests of calibration, stability."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from training.validation import backtests as back
from training.validation import calibration as cal
from training.validation import curves as cur
from training.validation import discrimination as dis
from training.validation import scores as sco
from training.validation import stability as sta
from training.validation.checkers.check import (
    EXACT,
    FITTED,
    PRINTED,
    SMOOTHED,
    TAILS,
    Check,
    Checks,
    Document,
    floats,
    ints,
)


def _delong(v: Document) -> Checks:
    y = ints(v["data"]["y"])
    names = [n for n in v["data"] if n != "y"]
    for name in names:
        x = floats(v["data"][name])
        own = dis.auc_delong(x, y)
        yield Check(f"{name} AUC", v[name]["auc"], own.value, EXACT)
        yield Check(f"{name} variance", v[name]["var"], own.variance, EXACT)
        for level in (95, 90):
            found = dis.auc_delong(x, y, level / 100)
            low, _, high = v[name][f"ci{level}"]
            yield Check(f"{name} low {level} %", low, found.low, TAILS)
            yield Check(f"{name} high {level} %", high, found.high, TAILS)
        # the ECB's s^2 is the same variance; S = (AUC_init - AUC) / s at AUC_init = AUC is 0
        same = dis.auc_initial_current(v[name]["auc"], x, y)
        yield Check(f"{name} ECB p at no change", 0.5, same.p_value, TAILS)
        yield Check(
            f"{name} AR is 2 AUC - 1", 2 * v[name]["auc"] - 1, cur.accuracy_ratio(x, y), TAILS
        )
    for key, test in v.items():
        if key.startswith("test_"):
            a, b = key.removeprefix("test_").split("_vs_")
            first, second = floats(v["data"][a]), floats(v["data"][b])
            paired = dis.auc_paired(first, second, y)
            yield Check(f"{key} Z", test["statistic"], paired.statistic, TAILS)
            yield Check(f"{key} p", test["p"], paired.p_value, TAILS)
            yield Check(f"{key} cov", test["cov"], dis.auc_covariance(first, second, y), EXACT)
        if key.startswith("unpaired_"):
            a, b = key.removeprefix("unpaired_").split("_vs_")
            welch = dis.auc_unpaired((floats(v["data"][a]), y), (floats(v["data"][b]), y))
            yield Check(f"{key} D", test["statistic"], welch.statistic, TAILS)
            yield Check(f"{key} df", test["parameter"], welch.df, TAILS)
            yield Check(f"{key} p", test["p"], welch.p_value, TAILS)


def _basel(v: Document) -> Checks:
    n, p = v["n"], v["p"]
    for row in v["rows"]:
        k = row["k"]
        yield Check(f"tail of {k}", row["exact_tail"], back.exceptions_tail(k, n, p), TAILS)
        yield Check(f"cumulative {k}", row["cum"], 1 - back.exceptions_tail(k + 1, n, p), TAILS)
    for zone, (low, high) in v["zones"].items():
        last = low + 5 if high is None else high
        for k in range(low, last + 1):
            yield Check(f"{k} is {zone}", 1.0, float(back.basel_zone(k, n, p)[0] == zone), EXACT)
    for key, plus in v["plus_factor"].items():
        k = int(key.removeprefix(">=").partition("-")[0])
        yield Check(f"plus factor {key}", float(plus), back.basel_zone(k)[1], EXACT)


def _normal_test(v: Document) -> Checks:
    pd, rate = floats(v["pd"]), floats(v["odr"])
    test, about_zero = back.normal_test(pd, rate), back.normal_test(pd, rate, unbiased=False)
    yield Check("z", v["z"], test.statistic, TAILS)
    yield Check("p", v["p"], test.p_value, TAILS)
    yield Check("z about zero", v["z_tau0"], about_zero.statistic, TAILS)


def _traffic(v: Document) -> Checks:
    for years, rows in v["computed"].items():
        for confidence, (critical, size) in rows.items():
            found = back.traffic_critical(int(years.removeprefix("T=")), Fraction(confidence))
            value = (None, None) if found is None else (float(found[0]), float(found[1]))
            yield Check(f"{years} {confidence} critical", critical, value[0], EXACT)
            yield Check(f"{years} {confidence} size", size, value[1], EXACT)


def _corp(v: Document, folder: Path) -> Checks:
    data = orjson.loads((folder / "calibration_rms_valprob.json").read_bytes())
    p, y = floats(data["p"]), ints(data["y"])
    for key, kind in (("brier", "brier"), ("logloss", "log_loss")):
        found = sco.corp(p, y, kind)
        for name, expected in v[key][0].items():
            value = None if found is None else getattr(found, name)
            yield Check(f"{key} {name}", expected, value, TAILS)


def _murphy(v: Document) -> Checks:
    n, d, pd = ints(v["N"]), ints(v["D"]), floats(v["PD"])
    parts = sco.murphy(n, d, pd)
    names = {
        "brier": "score", "reliability": "miscalibration", "resolution": "discrimination",
        "uncertainty": "uncertainty",
    }  # fmt: skip
    for key, name in names.items():
        yield Check(key, v[key], None if parts is None else getattr(parts, name), EXACT)
    probability = np.repeat(pd, n)
    label = np.concatenate([np.repeat([1, 0], [k, m - k]) for m, k in zip(n, d, strict=True)])
    yield Check("Brier of single cases", v["brier"], sco.brier(probability, label), EXACT)
    z = cal.spiegelhalter(probability, label)
    yield Check("Spiegelhalter z", v["spiegelhalter_z"], z.statistic, TAILS)
    yield Check("Spiegelhalter p", v["p_two_sided"], z.p_value, TAILS)


def _valprob(v: Document) -> Checks:
    p, y = floats(v["p"]), ints(v["y"])
    r, found = v["val.prob"], cal.cox(p, y)
    z, errors = cal.spiegelhalter(p, y), sco.smoothed_errors(p, y)
    emax, e90, eavg = errors or (None, None, None)
    yield Check("Brier", r["Brier"], sco.brier(p, y), TAILS)
    yield Check("Spiegelhalter z", r["S:z"], z.statistic, TAILS)
    yield Check("Spiegelhalter p", r["S:p"], z.p_value, TAILS)
    yield Check("Cox intercept, lrm", r["Intercept"], found.intercept, FITTED)
    yield Check("Cox slope, lrm", r["Slope"], found.slope, FITTED)
    yield Check("Cox intercept, glm", v["cox_intercept"], found.intercept, TAILS)
    yield Check("Cox slope, glm", v["cox_slope"], found.slope, TAILS)
    for i in range(2):
        for j in range(2):
            value = None if found.covariance is None else float(found.covariance[i, j])
            # R's glm takes the weights of the step before its last
            yield Check(f"Cox covariance {i}{j}", v["cox_vcov"][i][j], value, FITTED)
    yield Check("joint LR", v["lr_joint"], found.joint.statistic, TAILS)
    yield Check("joint LR p", v["lr_p"], found.joint.p_value, TAILS)
    yield Check("in the large", v["citl"], found.in_the_large, TAILS)
    yield Check("in the large, error", v["citl_se"], found.in_the_large_error, FITTED)
    # val.prob judges p as it is: the recalibrated model's gain over a constant less the joint LR
    gain = (found.likelihood_ratio or 0.0) - (found.joint.statistic or 0.0)
    n = len(y)
    constant = 2 * n * (sco.log_loss(np.full(n, y.mean()), y) or 0.0)
    yield Check("D chi-square", r["D:Chi-sq"], gain, TAILS)
    yield Check("D", r["D"], (gain - 1) / n, TAILS)
    yield Check("U", r["U"], ((found.joint.statistic or 0.0) - 2) / n, TAILS)
    nagelkerke = (1 - math.exp(-gain / n)) / (1 - math.exp(-constant / n))
    yield Check("Nagelkerke R2", r["R2"], nagelkerke, TAILS)
    yield Check("Emax", r["Emax"], emax, SMOOTHED)
    yield Check("E90", r["E90"], e90, SMOOTHED)
    yield Check("Eavg", r["Eavg"], eavg, SMOOTHED)
    # R's own "C (ROC)", .755296, is of binned predictions; the exact rank AUC is this one
    yield Check("AUC by ranks", EXACT_AUC, dis.auc_delong(p, y).value, TAILS)


EXACT_AUC: Final = 0.7553325433
"""Of the 400 cases of calibration_rms_valprob, to the ten digits it is stated with."""


def _cier(v: Document) -> Checks:
    found = cur.cier(ints(v["N"]), ints(v["D"]))
    yield Check("H0", v["H0_bits"], found.unconditional_bits, EXACT)
    yield Check("H1", v["H1_bits"], found.conditional_bits, EXACT)
    yield Check("CIER", v["CIER"], found.value, EXACT)
    gain = (found.unconditional_bits or 0.0) - (found.conditional_bits or 0.0)
    yield Check("mutual information", v["mutual_information_bits"], gain, EXACT)
    separated, flat = cur.cier(ints([5, 5]), ints([0, 5])), cur.cier(ints([4, 8]), ints([1, 2]))
    yield Check("perfect separation", v["edge"]["perfect_separation"], separated.value, EXACT)
    yield Check("no information", v["edge"]["no_information"], flat.value, EXACT)


def _concentration(v: Document) -> Checks:
    for k, case in enumerate(v["cases"]):
        current = ints(case["cur"])
        found = sta.concentration(current)
        yield Check(f"case {k} CV", case["CV_curr"], found.variation, EXACT)
        yield Check(f"case {k} HI", case["HI_curr"], found.herfindahl, EXACT)
        initial = ints(case.get("init", case["cur"]))
        if "init" in case:
            then = sta.concentration(initial)
            yield Check(f"case {k} CV initial", case["CV_init"], then.variation, EXACT)
            yield Check(f"case {k} HI initial", case["HI_init"], then.herfindahl, EXACT)
        if "p_value" in case or found.variation == 0:
            p = sta.concentration_change(current, initial).p_value
            yield Check(f"case {k} p", case.get("p_value"), p, TAILS)


def _hosmer_lemeshow(v: Document) -> Checks:
    n, d, pd = ints(v["N"]), ints(v["D"]), floats(v["PD"])
    fixed, fitted = cal.hosmer_lemeshow(n, d, pd), cal.hosmer_lemeshow(n, d, pd, exogenous=False)
    top, bottom = v["stat_exact"]
    yield Check("statistic", top / bottom, fixed.statistic, EXACT)
    yield Check("p, df = G", v["p_df_G"], fixed.p_value, TAILS)
    yield Check("p, df = G - 2", v["p_df_G_minus_2"], fitted.p_value, TAILS)
    for k in range(len(n)):
        case = int(n[k]), int(d[k]), float(pd[k])
        yield Check(f"grade {k} Jeffreys", v["jeffreys"][k], cal.jeffreys(*case).p_value, TAILS)
        tail = v["binomial_upper_tail"][k]
        yield Check(f"grade {k} binomial", tail, cal.binomial(*case).p_value, TAILS)


def _jeffreys(v: Any) -> Checks:
    rows = v if isinstance(v, list) else v["rows"]
    for row in rows:
        case = row["N"], row["D"], row["PD"]
        name = f"N {row['N']} D {row['D']} PD {row['PD']}"
        yield Check(f"{name} Jeffreys", row["p"], cal.jeffreys(*case).p_value, TAILS)
        yield Check(f"{name} binomial", row["binom_p"], cal.binomial(*case).p_value, TAILS)


def _mwb(v: Document) -> Checks:
    counts = ints(v["count_matrix"])
    lower, upper = sta.matrix_weighted_bandwidth(counts)
    for name, found in (("lower", lower), ("upper", upper)):
        yield Check(f"{name} published", v["published"][name], found, PRINTED)
        top, bottom = v["exact"][name]
        yield Check(f"{name} exact", top / bottom, found, EXACT)
    own = sta.migration(counts)
    for i, row in enumerate(v["z_statistic"]):
        for j, z in enumerate(row):
            yield Check(f"z {i + 1},{j + 1}", z, own.z[i][j], TAILS)
            yield Check(f"p {i + 1},{j + 1}", v["p_value_Phi_z"][i][j], own.p_value[i][j], TAILS)


def _pdtoolkit(v: Document) -> Checks:
    rows = v["pp_testing"]
    n, d = ints([r["no"] for r in rows]), ints([r["nb"] for r in rows])
    pd = floats([r["pdc"] for r in rows])
    pooled = cal.hosmer_lemeshow(n, d, pd).p_value
    for k, row in enumerate(rows):
        case = int(n[k]), int(d[k]), float(pd[k])
        grade = row["rating"]
        yield Check(f"{grade} binomial", row["binomial"], cal.binomial(*case).p_value, TAILS)
        yield Check(f"{grade} Jeffreys", row["jeffreys"], cal.jeffreys(*case).p_value, TAILS)
        yield Check(f"{grade} z-score", row["zscore"], cal.normal_score(*case).p_value, TAILS)
        yield Check(f"{grade} Hosmer-Lemeshow", row["hosmer.lemeshow"], pooled, TAILS)
    [normal] = v["normal_test"]
    rates = floats([0.018, 0.025, 0.031, 0.022, 0.027])
    # the five years of bcbs_wp14_normal_test; R prints the sum of their differences, and the plain
    # Herfindahl of ecb_concentration's first book, (CV^2 + 1) / K
    test = back.normal_test(np.full(5, 0.02), rates)
    spread = sta.concentration(ints([120, 240, 310, 200, 90, 40])).variation or 0.0
    yield Check("plain Herfindahl", v["hhi"], (spread**2 + 1) / 6, EXACT)
    yield Check("normal test estimate", normal["estimate"], float((rates - 0.02).sum()), EXACT)
    yield Check("normal test z", normal["test.stat"], test.statistic, TAILS)
    yield Check("normal test p", normal["p.value"], test.p_value, TAILS)


def _psi(v: Document) -> Checks:
    for k, case in enumerate(v["cases"]):
        e, a = floats(case["expected"]), floats(case["actual"])
        yield Check(f"case {k}", case["psi"], sta.psi_of_shares(e, a), EXACT)
        yield Check(f"case {k} reversed", case["psi"], sta.psi_of_shares(a, e), EXACT)


def _own(v: Document) -> Checks:
    """The project's own cases: a statistic by name, its arguments, what it must give."""
    y = ints(v["label"])
    p = floats([Fraction(t) for t in v["probability"]])
    grade = ints(v["grade"])
    values: dict[str, float | None] = {
        "auc": dis.auc_delong(p, y).value,
        "delong_variance": dis.auc_delong(p, y).variance,
        "auc_on_grades": dis.auc_delong(grade, y).value,
        "somers_d_on_grades": dis.somers_d(grade, y).value,
        "auc_pooled": dis.auc_pooled(grade, y, ints(v["period"])).value,
        "ks": cur.kolmogorov_smirnov(p, y).statistic,
        "accuracy_ratio": cur.accuracy_ratio(p, y),
        "brier": sco.brier(p, y),
        "corp_miscalibration": _part(sco.corp(p, y), "miscalibration"),
        "corp_discrimination": _part(sco.corp(p, y), "discrimination"),
        "spiegelhalter_square": (cal.spiegelhalter(p, y).statistic or 0.0) ** 2,
        "h_measure_2_2": cur.h_measure(p, y, (2, 2)),
    }
    for name, expected in v["exact"].items():
        yield Check(name, float(Fraction(expected)), values[name], TAILS)
    for case in v["correlated_binomial"]:
        found = cal.correlated_binomial(case["N"], case["D"], case["PD"], case["rho"])
        name = f"correlated binomial rho {case['rho']}"
        yield Check(f"{name} p", case["p"], found.test.p_value, case["tolerance"])
        yield Check(f"{name} k*", case["critical"], found.critical, EXACT)


def _part(parts: Any, name: str) -> float | None:
    return None if parts is None else float(getattr(parts, name))


STATISTICS: Final[dict[str, Callable[..., Checks]]] = {
    "basel_traffic_light_250d": _basel,
    "bcbs_wp14_normal_test": _normal_test,
    "bcbs_wp14_traffic_light_multiyear": _traffic,
    "brier_corp_decomposition": _corp,
    "brier_murphy_spiegelhalter_grades": _murphy,
    "calibration_rms_valprob": _valprob,
    "cier": _cier,
    "delong_pROC_aSAH": _delong,
    "ecb_concentration": _concentration,
    "exact_fractions": _own,
    "hosmer_lemeshow_grades": _hosmer_lemeshow,
    "jeffreys_R": _jeffreys,
    "mwb_migration": _mwb,
    "pdtoolkit_R_cross": _pdtoolkit,
    "psi": _psi,
}
