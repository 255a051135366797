"""Public credit sets, read as their sources warn: leaks dropped, codes named, twins kept together.

The sets are not part of this project; a folder with one sub-folder a set is named by the user.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from data_contracts.units import IntArray
from training.estimator_bags import clusters_of

LEAST_LEVEL: Final = 20
"""Rows of a category's level below which it counts as "other", in every method alike."""
NEAR: Final = 0.3
"""Rows closer than this many standard deviations are twins in the set that is known for them."""
Role = Literal["frozen-on", "test", "smoke"]


@dataclass(frozen=True)
class CreditSet:
    """One set: features, label, categories, and rows that must not be divided by a split.

    Attributes
    ----------
    role : ``frozen-on`` if the recipe was chosen on it, ``test``, or ``smoke`` for an approval
        label or a second copy of another set's loans, which no headline counts
    """

    name: str
    features: pd.DataFrame
    label: IntArray
    categories: tuple[str, ...]
    clusters: IntArray
    role: Role
    whole: int


def _frame(path: Path, **options: Any) -> pd.DataFrame:
    data: pd.DataFrame = pd.read_csv(path, **options)
    return data


def _taiwan(folder: Path) -> tuple[pd.DataFrame, Any]:
    data = _frame(folder / "UCI_Credit_Card.csv.gz").drop(columns="ID")
    return data, data.pop("default.payment.next.month") == 1


def _gmsc(folder: Path) -> tuple[pd.DataFrame, Any]:
    data = _frame(folder / "cs-training-100k.csv.gz").drop(columns="Unnamed: 0")
    return data, data.pop("SeriousDlqin2yrs") == 1


def _german(folder: Path) -> tuple[pd.DataFrame, Any]:
    data = _frame(folder / "german.data", sep=" ", header=None)
    data.columns = [f"a{k + 1}" for k in range(data.shape[1])]
    return data, data.pop("a21") == 2


def _south_german(folder: Path) -> tuple[pd.DataFrame, Any]:
    data = _frame(folder / "SouthGermanCredit.asc", sep=" ")
    return data, data.pop("credit_risk") == 0


def _hmeq(folder: Path) -> tuple[pd.DataFrame, Any]:
    data = _frame(folder / "hmeq.csv.gz")
    return data, data.pop("BAD") == 1


def _polish(folder: Path) -> tuple[pd.DataFrame, Any]:
    text = gzip.decompress((folder / "1year.arff.gz").read_bytes()).decode("latin-1")
    body = text[text.lower().index("@data") + 5 :].strip()
    data = pd.read_csv(io.StringIO(body), header=None, na_values="?")
    data.columns = [f"x{k + 1}" for k in range(data.shape[1])]
    return data, data.pop("x65") == 1


SBA_LEAKS: Final = (
    "Term", "RealEstate", "daysterm", "ChgOffDate", "ChgOffPrinGr", "MIS_Status",
    "DisbursementDate", "DisbursementGross", "Recession", "xx", "Selected", "LoanNr_ChkDgt", "Name",
)  # fmt: skip
"""What is known only after the loan was made, and what names it."""


def _sba(folder: Path) -> tuple[pd.DataFrame, Any]:
    data = _frame(folder / "SBAcase.11.13.17.csv.gz", encoding="utf-8-sig")
    data = data.drop(columns=list(SBA_LEAKS))
    return data, data.pop("Default") == 1


def _lendingclub(folder: Path) -> tuple[pd.DataFrame, Any]:
    raw = gzip.decompress((folder / "loan_data.csv.gz").read_bytes()).replace(b"\r", b"\n")
    # the rate and the policy flag are the lender's own decisions
    data = pd.read_csv(io.BytesIO(raw)).drop(columns=["int.rate", "credit.policy"])
    return data, data.pop("not.fully.paid") == 1


def _australian(folder: Path) -> tuple[pd.DataFrame, Any]:
    data = _frame(folder / "australian.dat", sep=r"\s+", header=None)
    data.columns = [f"a{k + 1}" for k in range(data.shape[1])]
    return data, data.pop("a15") == 1


_SOUTH_CATEGORIES: Final = (
    "purpose", "personal_status_sex", "other_debtors", "other_installment_plans", "housing",
)  # fmt: skip
Reader = Callable[[Path], tuple[pd.DataFrame, Any]]
SETS: Final[dict[str, tuple[Reader, Role, tuple[str, ...]]]] = {
    "taiwan": (_taiwan, "frozen-on", ("SEX", "EDUCATION", "MARRIAGE")),
    "gmsc": (_gmsc, "frozen-on", ()),
    "german": (_german, "frozen-on", ()),
    "hmeq": (_hmeq, "test", ()),
    "polish": (_polish, "test", ()),
    "sba": (_sba, "test", ()),
    "lendingclub_small": (_lendingclub, "test", ()),
    "south_german": (_south_german, "smoke", _SOUTH_CATEGORIES),
    "australian": (_australian, "smoke", ("a4", "a5", "a6", "a12")),
}


def near_twins(features: pd.DataFrame) -> IntArray:
    """Clusters of rows that lie within ``NEAR`` standard deviations of one another, in chains."""
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import radius_neighbors_graph

    numbers = features.select_dtypes("number")
    filled = numbers.fillna(numbers.median())
    scaled = ((filled - filled.mean()) / filled.std().replace(0, 1)).to_numpy()
    graph = radius_neighbors_graph(scaled, NEAR)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def load_set(folder: Path, name: str, most_rows: int) -> CreditSet:
    """Read a set, with rows drawn at random where it has more than ``most_rows``."""
    read, role, coded = SETS[name]
    data, target = read(folder / name)
    whole = len(data)
    label = np.asarray(target, dtype=np.int64)
    if whole > most_rows:
        chosen = np.sort(np.random.default_rng(0).permutation(whole)[:most_rows])
        data, label = data.iloc[chosen].reset_index(drop=True), label[chosen]
    text = [c for c in data if not pd.api.types.is_numeric_dtype(data[c])]
    categories = tuple(dict.fromkeys([*coded, *map(str, text)]))
    for column in categories:
        levels = data[column].astype(object).where(data[column].notna(), "missing").map(str)
        count = levels.map(levels.value_counts())
        data[column] = levels.where(count >= LEAST_LEVEL, "other").astype(object)
    numbers = data.drop(columns=list(categories)).astype(np.float64)
    data[list(numbers.columns)] = numbers
    if name == "hmeq":
        clusters = near_twins(numbers)
    else:
        codes = [pd.factorize(data[c])[0].astype(np.float64) for c in data]
        clusters = clusters_of(np.column_stack(codes), None)
    return CreditSet(name, data, label, categories, clusters, role, whole)
