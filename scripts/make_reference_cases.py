"""Write the reference cases of ``gearline validate self-test`` without using the statistics' code.

Pairs are counted one by one in exact fractions, logarithms are taken with fifty digits, integrals
are done piece by piece or by quadrature. Figures of R and of published tables are typed in with
their source. Run as ``python scripts/make_reference_cases.py``.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from decimal import Decimal, getcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from scipy.integrate import quad
from scipy.stats import binom, norm

OUT = Path(__file__).resolve().parents[1] / "training" / "validation" / "reference"
getcontext().prec = 50
N = [500, 800, 1200, 900, 400, 200]
D = [2, 9, 24, 40, 36, 31]
PD = ["0.005", "0.01", "0.02", "0.04", "0.08", "0.15"]
Q = [Fraction(1, 2), Fraction(3, 10), Fraction(3, 20), Fraction(1, 20)]


def decimal(x: Fraction) -> Decimal:
    return Decimal(x.numerator) / Decimal(x.denominator)


def auc(score: list[Any], label: list[int]) -> tuple[Fraction, Fraction]:
    """AUC and DeLong's variance, pair by pair."""
    bad = [s for s, y in zip(score, label, strict=True) if y]
    good = [s for s, y in zip(score, label, strict=True) if not y]
    half = Fraction(1, 2)

    def wins(b: Any, g: Any) -> Fraction:
        return Fraction(1) if b > g else half if b == g else Fraction(0)

    v10 = [sum((wins(b, g) for g in good), Fraction(0)) / len(good) for b in bad]
    v01 = [sum((wins(b, g) for b in bad), Fraction(0)) / len(bad) for g in good]
    value = sum(v10, Fraction(0)) / len(bad)

    def spread(v: list[Fraction]) -> Fraction:
        return sum(((x - value) ** 2 for x in v), Fraction(0)) / (len(v) - 1) / len(v)

    return value, spread(v10) + spread(v01)


def ks(score: list[Fraction], label: list[int]) -> Fraction:
    bads, n = sum(label), len(label)
    worst = Fraction(0)
    for t in score:
        f1 = Fraction(sum(y for s, y in zip(score, label, strict=True) if s <= t), bads)
        f0 = Fraction(sum(1 - y for s, y in zip(score, label, strict=True) if s <= t), n - bads)
        worst = max(worst, abs(f1 - f0))
    return worst


def isotonic(p: list[Fraction], label: list[int]) -> list[Fraction]:
    """By the max-min formula, not by pooling."""
    values = sorted(set(p))
    hits = [sum(y for s, y in zip(p, label, strict=True) if s == v) for v in values]
    count = [p.count(v) for v in values]
    fit = []
    for i in range(len(values)):
        fit.append(
            max(
                min(
                    Fraction(sum(hits[a : b + 1]), sum(count[a : b + 1]))
                    for b in range(i, len(values))
                )
                for a in range(i + 1)
            )
        )
    by = dict(zip(values, fit, strict=True))
    return [by[s] for s in p]


def h_measure(score: list[Fraction], label: list[int]) -> Fraction:
    """Hand's H under Beta(2, 2): the least of all threshold lines, integrated between crossings."""
    n, bads = len(label), sum(label)
    pi1 = Fraction(bads, n)
    lines = []
    for t in [*sorted(set(score)), Fraction(2)]:
        rejected_good = sum(1 - y for s, y in zip(score, label, strict=True) if s >= t)
        kept_bad = sum(y for s, y in zip(score, label, strict=True) if s < t)
        lines.append((Fraction(rejected_good, n), Fraction(kept_bad, n)))

    def integral(lines: list[tuple[Fraction, Fraction]]) -> Fraction:
        cuts = {Fraction(0), Fraction(1)}
        for (a, b), (c, d) in itertools.combinations(set(lines), 2):
            # a x + b (1 - x) = c x + d (1 - x)
            if (a - c) - (b - d) != 0:
                x = (d - b) / ((a - c) - (b - d))
                if 0 < x < 1:
                    cuts.add(x)
        total = Fraction(0)
        edges = sorted(cuts)
        for low, high in itertools.pairwise(edges):
            middle = (low + high) / 2
            a, b = min(lines, key=lambda ab: ab[0] * middle + ab[1] * (1 - middle))

            def primitive(x: Fraction, a: Fraction = a, b: Fraction = b) -> Fraction:
                # of 6 x (1 - x) (a x + b (1 - x))
                return a * (2 * x**3 - Fraction(3, 2) * x**4) + b * (
                    3 * x**2 - 4 * x**3 + Fraction(3, 2) * x**4
                )

            total += primitive(high) - primitive(low)
        return total

    trivial = [(1 - pi1, Fraction(0)), (Fraction(0), pi1)]
    return 1 - integral(lines) / integral(trivial)


def exact_fractions() -> dict[str, Any]:
    rng = random.Random(20240611)
    p = [Fraction(rng.choice([2, 3, 5, 8, 13, 21, 34]), 100) for _ in range(90)]
    y = [int(rng.random() < float(q) * 2.2) for q in p]
    grade = [[2, 3, 5, 8, 13, 21, 34].index(int(q * 100)) // 2 + 1 for q in p]
    period = [2020 + k % 3 for k in range(len(p))]
    value, variance = auc(p, y)
    on_grades, _ = auc(grade, y)
    rank = []
    for g, t in zip(grade, period, strict=True):
        same = [h for h, u in zip(grade, period, strict=True) if u == t]
        rank.append(Fraction(sum(h <= g for h in same), len(same)))
    fit, mean = isotonic(p, y), Fraction(sum(y), len(y))

    def loss(q: list[Fraction]) -> Fraction:
        return sum(((a - b) ** 2 for a, b in zip(q, y, strict=True)), Fraction(0)) / len(y)

    top = sum(((b - a) * (1 - 2 * a) for a, b in zip(p, y, strict=True)), Fraction(0))
    below = sum(((1 - 2 * a) ** 2 * a * (1 - a) for a in p), Fraction(0))
    exact = {
        "auc": value,
        "delong_variance": variance,
        "auc_on_grades": on_grades,
        "somers_d_on_grades": 2 * on_grades - 1,
        "auc_pooled": auc(rank, y)[0],
        "ks": ks(p, y),
        "accuracy_ratio": 2 * value - 1,
        "brier": loss(p),
        "corp_miscalibration": loss(p) - loss(fit),
        "corp_discrimination": loss([mean] * len(y)) - loss(fit),
        "spiegelhalter_square": top**2 / below,
        "h_measure_2_2": h_measure(p, y),
    }
    correlated = []
    for n, d, pd, rho in ((1000, 18, 0.01, 0.12), (250, 9, 0.02, 0.04), (400, 3, 0.005, 0.2)):

        def given(z: float, pd: float = pd, rho: float = rho) -> float:
            return float(norm.cdf((norm.ppf(pd) + math.sqrt(rho) * z) / math.sqrt(1 - rho)))

        def tail(k: int, n: int = n, given: Any = given) -> float:
            return float(
                quad(
                    lambda z: norm.pdf(z) * binom.sf(k - 1, n, given(z)),
                    -12, 12, epsabs=1e-13, epsrel=1e-12, limit=500,
                )[0]
            )  # fmt: skip

        k = 0
        while tail(k) > 0.05:
            k += 1
        correlated.append(
            {"N": n, "D": d, "PD": pd, "rho": rho, "p": tail(d), "critical": k, "tolerance": 1e-9}
        )
    return {
        "source": "pairs counted one by one in exact fractions; isotonic fit by the max-min formula;"
        " H under Beta(2, 2) integrated piece by piece; correlated binomial by adaptive quadrature",
        "label": y,
        "probability": [str(q) for q in p],
        "grade": grade,
        "period": period,
        "exact": {k: str(v) for k, v in exact.items()},
        "correlated_binomial": correlated,
    }


def psi_cases() -> dict[str, Any]:
    cases = []
    for e, a in (
        (["0.5", "0.5"], ["0.6", "0.4"]),
        (["0.2", "0.3", "0.5"], ["0.25", "0.25", "0.5"]),
        (["0.2", "0.3", "0.5"], ["0.2", "0.3", "0.5"]),
    ):
        pairs = [(Decimal(x), Decimal(z)) for x, z in zip(e, a, strict=True)]
        value = sum(((z - x) * (z / x).ln() for x, z in pairs), Decimal(0))
        cases.append(
            {"expected": list(map(float, e)), "actual": list(map(float, a)), "psi": float(value)}
        )
    return {"source": "closed form with fifty digits; the first is 0.1 ln 1.5", "cases": cases}


def entropy(p: Decimal) -> Decimal:
    return -(p * p.ln() + (1 - p) * (1 - p).ln()) / Decimal(2).ln()


def cier_case() -> dict[str, Any]:
    total, bads = sum(N), sum(D)
    h0 = entropy(Decimal(bads) / total)
    h1 = sum(
        (Decimal(n) / total * entropy(Decimal(d) / n) for n, d in zip(N, D, strict=True)),
        Decimal(0),
    )
    return {
        "source": "(H0 - H1) / H0, BCBS Working Paper 14, with fifty digits",
        "N": N, "D": D, "H0_bits": float(h0), "H1_bits": float(h1), "CIER": float((h0 - h1) / h0),
        "mutual_information_bits": float(h0 - h1),
        "edge": {"perfect_separation": 1.0, "no_information": 0.0},
    }  # fmt: skip


def spread(book: list[int]) -> tuple[Decimal, Decimal]:
    k, total = len(book), Decimal(sum(book))
    square = sum(((n / total - 1 / Decimal(k)) ** 2 for n in map(Decimal, book)), Decimal(0))
    cv = (k * square).sqrt()
    return cv, 1 + ((cv**2 + 1) / k).ln() / Decimal(k).ln()


def concentration_cases() -> dict[str, Any]:
    now, then = [130, 250, 300, 190, 80, 50], [150, 170, 200, 190, 160, 130]
    (cv, hi), (cv0, hi0) = spread(now), spread(then)
    z = Decimal(5).sqrt() * (cv - cv0) / (cv**2 * (Decimal("0.5") + cv**2)).sqrt()
    return {
        "source": "ECB, Instructions for reporting the validation results of internal models,"
        " February 2019, 2.5.5.3, with fifty digits; the tail by erfc",
        "cases": [
            {"cur": now, "init": then, "CV_curr": float(cv), "HI_curr": float(hi), "CV_init": float(cv0),
             "HI_init": float(hi0), "p_value": 0.5 * math.erfc(float(z) / math.sqrt(2))},
            {"cur": [100] * 5, "CV_curr": 0.0, "HI_curr": 0.0},
            {"cur": [7, 0, 0, 0], "CV_curr": float(Decimal(3).sqrt()), "HI_curr": 1.0},
        ],
    }  # fmt: skip


def hosmer_case() -> dict[str, Any]:
    stat = Fraction(0)
    for n, d, text in zip(N, D, PD, strict=True):
        p = Fraction(text)
        stat += (d - n * p) ** 2 / (n * p * (1 - p))
    half = decimal(stat) / 2

    def tail(df: int) -> float:
        terms = (half**k / math.factorial(k) for k in range(df // 2))
        return float((-half).exp() * sum(terms, Decimal(0)))

    upper = []
    for n, d, text in zip(N, D, PD, strict=True):
        p = Fraction(text)
        below = sum((math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(d)), Fraction(0))
        upper.append(float(decimal(1 - below)))
    return {
        "source": "statistic as a fraction; chi-square tail in closed form for even degrees of"
        " freedom; binomial tails as fractions; Jeffreys by R 4.2.2 pbeta",
        "N": N, "D": D, "PD": list(map(float, PD)),
        "stat_exact": [stat.numerator, stat.denominator],
        "p_df_G": tail(6), "p_df_G_minus_2": tail(4),
        "jeffreys": [0.5847316024680016, 0.34238468615786266, 0.4867751174570701,
                     0.24367541539867763, 0.22687867259753028, 0.41287568882529846],
        "binomial_upper_tail": upper,
    }  # fmt: skip


def murphy_case() -> dict[str, Any]:
    total, mean = sum(N), Fraction(sum(D), sum(N))
    rel = res = brier = top = below = Fraction(0)
    for n, d, text in zip(N, D, PD, strict=True):
        p, rate, w = Fraction(text), Fraction(d, n), Fraction(n, total)
        rel += w * (p - rate) ** 2
        res += w * (rate - mean) ** 2
        brier += (d * (1 - p) ** 2 + (n - d) * p**2) / total
        top += (1 - 2 * p) * (d - n * p)
        below += n * (1 - 2 * p) ** 2 * p * (1 - p)
    z = decimal(top) / decimal(below).sqrt()
    return {
        "source": "Murphy 1973 in exact fractions; Spiegelhalter's z on the same single cases",
        "N": N, "D": D, "PD": list(map(float, PD)), "brier": float(brier), "reliability": float(rel),
        "resolution": float(res), "uncertainty": float(mean * (1 - mean)),
        "spiegelhalter_z": float(z), "p_two_sided": math.erfc(abs(float(z)) / math.sqrt(2)),
    }  # fmt: skip


def normal_case() -> dict[str, Any]:
    pd = [Fraction("0.02")] * 5
    rate = [Fraction(t) for t in ("0.018", "0.025", "0.031", "0.022", "0.027")]
    d = [b - a for a, b in zip(pd, rate, strict=True)]
    square, total = sum(x * x for x in d), sum(d)
    z = decimal(total) / (5 * decimal((square - total**2 / 5) / 4)).sqrt()
    zero = decimal(total) / (5 * decimal(Fraction(square) / 4)).sqrt()
    return {
        "source": "BCBS Working Paper 14, III, exact fractions; R PDtoolkit normal.test prints"
        " 2.08660237348197 and 0.0184620462849543",
        "pd": [float(x) for x in pd], "odr": [float(x) for x in rate], "z": float(z),
        "z_tau0": float(zero), "p": 0.5 * math.erfc(float(z) / math.sqrt(2)),
    }  # fmt: skip


def traffic_cases() -> dict[str, Any]:
    found = {}
    for years in (3, 5):
        shares: dict[int, Fraction] = {}
        for colours in itertools.product(range(4), repeat=years):  # year by year
            v = sum((1000, 100, 10, 1)[c] for c in colours)
            chance = math.prod((Q[c] for c in colours), start=Fraction(1))
            shares[v] = shares.get(v, Fraction(0)) + chance
        rows = {}
        for text in ("9/10", "19/20", "39/40", "99/100", "199/200", "999/1000"):
            level = 1 - Fraction(text)
            fits = [v for v in shares if sum(s for u, s in shares.items() if u <= v) < level]
            best = max(fits)
            rows[text] = [best, float(sum(s for u, s in shares.items() if u <= best))]
        found[f"T={years}"] = rows
    return {
        "source": "Blochwitz, Hohl & Wehn in BCBS Working Paper 14: every sequence of colours"
        " enumerated in exact fractions",
        "computed": found,
    }


def basel_cases() -> dict[str, Any]:
    p, rows, cumulative = Fraction(1, 100), [], Fraction(0)
    for k in range(16):
        tail = 1 - cumulative
        cumulative += math.comb(250, k) * p**k * (1 - p) ** (250 - k)
        rows.append({"k": k, "cum": float(decimal(cumulative)), "exact_tail": float(decimal(tail))})
    return {
        "source": "BCBS, Supervisory framework for the use of backtesting, January 1996, tables 1 and"
        " 2 (zones and plus factors); probabilities in exact fractions",
        "n": 250, "p": 0.01, "rows": rows,
        "zones": {"green": [0, 4], "yellow": [5, 9], "red": [10, None]},
        "plus_factor": {"0-4": 0, "5": 0.4, "6": 0.5, "7": 0.65, "8": 0.75, "9": 0.85, ">=10": 1.0},
    }  # fmt: skip


def jeffreys_cases() -> dict[str, Any]:
    rows = (
        (1000, 10, 0.01, 0.47905680623039, 0.542699407825109),
        (500, 10, 0.01, 0.0205046241752297, 0.0311021066484879),
        (200, 0, 0.01, 0.95517381445425, 1.0),
        (10000, 130, 0.012, 0.17853454046728, 0.190454166756525),
        (30, 30, 0.5, 9.33142222668469e-11, 9.31322574615481e-10),
        (250, 1, 0.0003, 0.0147556475258313, 0.0722669528148289),
    )
    keys = ("N", "D", "PD", "p", "binom_p")
    return {
        "source": "R 4.2.2: pbeta(PD, D + 0.5, N - D + 0.5) and binom.test(alternative = 'greater')",
        "rows": [dict(zip(keys, row, strict=True)) for row in rows],
    }


def migration_case() -> dict[str, Any]:
    counts = [
        [10, 8, 15, 9, 10],
        [11, 9, 13, 9, 8],
        [0, 10, 10, 11, 10],
        [0, 0, 9, 11, 11],
        [0, 0, 0, 11, 10],
    ]
    z: list[list[float | None]] = [[None] * 5 for _ in range(5)]
    p: list[list[float | None]] = [[None] * 5 for _ in range(5)]
    for i, row in enumerate(counts):
        n = sum(row)
        for j in range(5):
            if i == j:
                continue
            here, near = Fraction(row[j], n), Fraction(row[j + 1 if j < i else j - 1], n)
            variance = (here * (1 - here) + near * (1 - near) + 2 * here * near) / n
            if variance:
                value = float(decimal(near - here) / decimal(variance).sqrt())
                z[i][j], p[i][j] = value, 0.5 * math.erfc(-value / math.sqrt(2))
    return {
        "source": "count matrix and printed bandwidths: MathWorks Risk Management Toolbox R2026a,"
        " documentation of matrixWeightedBandwidth; formulas: ECB 2019, 2.5.5.1 and 2.5.5.2",
        "count_matrix": counts, "published": {"lower": 0.3306, "upper": 0.6066},
        "exact": {"lower": [41, 124], "upper": [202, 333]}, "z_statistic": z, "p_value_Phi_z": p,
    }  # fmt: skip


def main() -> None:
    files = {
        "exact_fractions": exact_fractions, "psi": psi_cases, "cier": cier_case,
        "ecb_concentration": concentration_cases, "hosmer_lemeshow_grades": hosmer_case,
        "brier_murphy_spiegelhalter_grades": murphy_case, "bcbs_wp14_normal_test": normal_case,
        "bcbs_wp14_traffic_light_multiyear": traffic_cases, "basel_traffic_light_250d": basel_cases,
        "jeffreys_R": jeffreys_cases, "mwb_migration": migration_case,
    }  # fmt: skip
    OUT.mkdir(parents=True, exist_ok=True)
    for name, make in files.items():
        (OUT / f"{name}.json").write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
