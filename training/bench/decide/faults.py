"""Faults planted into the code or the packs: the oracle must catch each of them."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np

from data_contracts.units import NULL
from models.decide import columns
from models.law import cfd, china, eligible, united_states
from models.margin import cap, limits
from models.margin.exact import part
from models.policy import Pack, Policy
from models.policy.document import shipped_documents
from models.policy.pack import build_pack
from training.bench.decide.law import PolicyOf, batch, shipped

MOST_BATCHES: Final = 60
BATCH: Final = 500


@dataclass(frozen=True)
class Fault:
    """A mistake someone could make: where it shows, and what is put in the right code's place."""

    name: str
    pack: str
    days: tuple[str, ...]
    replaced: tuple[tuple[Any, str, Callable[..., Any]], ...] = ()
    policy: PolicyOf = shipped


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """The fault in place of the right code, for a while."""
    before = [(module, name, getattr(module, name)) for module, name, _ in fault.replaced]
    try:
        for module, name, wrong in fault.replaced:
            setattr(module, name, wrong)
        yield
    finally:
        for module, name, right in before:
            setattr(module, name, right)


@cache
def _late_pack() -> Pack:
    """The pack with the change of 2026 a day late."""
    document, house = copy.deepcopy(shipped_documents("cn"))
    values = document["parameters"]["financing_margin_ratio"]["values"]
    values[dt.date(2026, 1, 20)] = values.pop(dt.date(2026, 1, 19))
    return build_pack(document, house)


def _a_day_late(pack: str, day: dt.date) -> Policy:
    return _late_pack().on(day)


def _published_haircuts(market: Any, policy: Any) -> Any:
    published = np.where(market.haircut == NULL, 650_000, market.haircut)
    return np.where(market.collateral_eligible, published, 0)


def _ratio_of_today(books: Any, policy: Any) -> Any:
    return np.full(len(books.loan_ratio), policy["financing_margin_ratio"])


def _without_opening_day(books: Any, policy: Any) -> Any:
    return books.loan_ratio


_waterfall, _available, _firm = cap.cap_waterfall, china.available_margin, columns.firm_limit
_book_limits, _contracts = limits.book_limits, cfd.limit


def _rounded_up(**terms: Any) -> Any:
    made = _waterfall(**terms)
    up = -(-np.maximum(np.minimum(terms["statutory"], 9 * 10**12), 0) // 100) * 100
    stated = made.limits.copy()
    stated[:, 0] = up
    return replace(made, limits=stated, cap=np.where(made.binding == 0, up, made.cap))


def _loss_at_the_haircut(books: Any, market: Any, policy: Any) -> Any:
    cut = np.append(china.haircuts(market, policy), 0)[books.loan_symbol]
    loss = np.minimum(books.loan_value - books.loan_outstanding, 0)
    back = books.per_book(part(loss, cut) - loss, books.loan_book)
    return _available(books, market, policy) + back


def _without_interest(books: Any, market: Any, policy: Any) -> Any:
    return _available(books, market, policy) + books.accrued


def _financed_twice(books: Any, market: Any, policy: Any) -> Any:
    cut = np.append(china.haircuts(market, policy), 0)[books.loan_symbol]
    twice = books.per_book(part(books.loan_value, cut), books.loan_book)
    return _available(books, market, policy) + twice


def _override_ignored(**terms: Any) -> Any:
    return _waterfall(**{**terms, "override": np.full_like(terms["override"], limits.NO_LIMIT)})


def _not_pooled(c: Any, *_: Any) -> Any:
    return np.full(len(c), limits.NO_LIMIT, dtype=np.int64)


def _crowding_ignored(market: Any, policy: Any) -> Any:
    return market.margin_eligible


def _quota_ignored(debt: Any, market: Any, policy: Any) -> Any:
    return np.full(len(debt), limits.NO_LIMIT)


def _all_marginable(books: Any, market: Any, policy: Any, equity: Any, trader: Any) -> Any:
    most = united_states._supported(equity, policy["initial_margin_ratio"])
    return np.where(equity >= united_states.least_equity(books, policy, trader), most, 0)


def _least_equity_ignored(books: Any, policy: Any, day_trader: Any) -> Any:
    return np.zeros(books.n, dtype=np.int64)


def _day_traders_ignored(books: Any, policy: Any, day_trader: Any) -> Any:
    return np.full(books.n, policy["minimum_equity_amt"])


def _opening_forgotten(books: Any, market: Any, policy: Any) -> Any:
    held = np.append(cfd.class_of(market), -1)[books.holding_symbol]
    return books.per_book(part(books.holding_value, cfd._margins(policy)[held]), books.holding_book)


def _open_contracts_free(books: Any, equity: Any, required: Any, new: Any, exempt: Any) -> Any:
    return _contracts(books, equity, np.zeros_like(required), new, exempt)


def _cash_twice(books: Any, equity: Any, required: Any, new: Any, exempt: Any) -> Any:
    return _contracts(books, equity, required, new, exempt) + books.cash


def _everyone_professional(books: Any, equity: Any, required: Any, new: Any, exempt: Any) -> Any:
    return _contracts(books, equity, required, new, np.ones_like(exempt))


def _mildest_class(policy: Any, professional: Any) -> Any:
    return np.full(len(professional), cfd.CLASSES.index("fx_major"))


def _no_ban(market: Any, policy: Any) -> Any:
    return np.zeros(len(market.symbols), dtype=bool)


def _with(name: str, value: int) -> PolicyOf:
    """The shipped pack with another value of a rule."""

    def made(pack: str, day: dt.date) -> Policy:
        policy = shipped(pack, day)
        wrong = replace(policy.in_force[name], values=(value,))
        return replace(policy, in_force={**policy.in_force, name: wrong})

    return made


def _no_suitability(pack: str, day: dt.date) -> Policy:
    policy = shipped(pack, day)
    kept = {k: v for k, v in policy.in_force.items() if not k.startswith("suitability_")}
    return replace(policy, in_force=kept)


FAULTS: Final = (
    Fault("a change takes effect a day late", "cn", ("2026-01-19",), policy=_a_day_late),
    Fault("haircut not capped", "cn", ("2015-06-30",), ((china, "haircuts", _published_haircuts),)),
    Fault(
        "open contracts take the ratio of today",
        "cn",
        ("2023-09-11",),
        ((china, "contract_ratios", _ratio_of_today),),
    ),
    Fault(
        "the ratio of the opening day is no floor",
        "cn",
        ("2015-11-24", "2026-01-20"),
        ((china, "contract_ratios", _without_opening_day),),
    ),
    Fault(
        "rounding up",
        "cn",
        ("2015-06-30", "2026-01-20"),
        ((columns, "cap_waterfall", _rounded_up),),
    ),
    Fault(
        "a loss not taken in full",
        "cn",
        ("2015-06-30",),
        ((china, "available_margin", _loss_at_the_haircut),),
    ),
    Fault(
        "interest left out",
        "cn",
        ("2015-06-30",),
        ((china, "available_margin", _without_interest),),
    ),
    Fault(
        "financed shares counted twice",
        "cn",
        ("2015-06-30",),
        ((china, "available_margin", _financed_twice),),
    ),
    Fault(
        "an override ignored",
        "us",
        ("2020-03-20",),
        ((columns, "cap_waterfall", _override_ignored),),
    ),
    Fault(
        "a related group not pooled",
        "us",
        ("2020-03-20",),
        ((columns, "_group_terms", _not_pooled),),
    ),
    Fault(
        "a crowded name still financed",
        "cn",
        ("2015-06-30",),
        ((eligible, "may_be_financed", _crowding_ignored),),
    ),
    Fault(
        "capital and quota ignored",
        "cn",
        ("2015-06-30", "2012-10-16"),
        ((columns, "firm_limit", _quota_ignored),),
    ),
    Fault(
        "securities that may not be margined are",
        "us",
        ("2020-03-20",),
        ((united_states, "limit", _all_marginable),),
    ),
    Fault(
        "the least equity ignored",
        "us",
        ("2020-03-20",),
        ((united_states, "least_equity", _least_equity_ignored),),
    ),
    Fault(
        "day traders need no more than others",
        "us",
        ("2026-06-03",),
        ((united_states, "least_equity", _day_traders_ignored),),
    ),
    Fault("an unsuitable applicant is lent to", "cn", ("2024-03-18",), policy=_no_suitability),
    Fault(
        "shares margined like a minor index",
        "eu-cfd",
        ("2022-03-15",),
        policy=_with("margin_share_ratio", 100_000),
    ),
    Fault(
        "government bonds at thirty times a day early",
        "uk-cfd",
        ("2019-07-31",),
        policy=_with("margin_government_bond_ratio", 33_334),
    ),
    Fault(
        "a thirtieth rounded down",
        "eu-cfd",
        ("2018-08-01",),
        policy=_with("margin_fx_major_ratio", 33_333),
    ),
    Fault(
        "a loss lowers the margin of a contract",
        "eu-cfd",
        ("2022-03-15",),
        ((cfd, "required_margin", _opening_forgotten),),
    ),
    Fault(
        "open contracts need no margin",
        "uk-cfd",
        ("2022-03-15",),
        ((cfd, "limit", _open_contracts_free),),
    ),
    Fault("cash counted twice", "eu-cfd", ("2022-03-15",), ((cfd, "limit", _cash_twice),)),
    Fault(
        "a retail client taken for a professional one",
        "eu-cfd",
        ("2022-03-15",),
        ((cfd, "limit", _everyone_professional),),
    ),
    Fault(
        "the mildest class assumed",
        "eu-cfd",
        ("2022-03-15",),
        ((cfd, "strictest_class", _mildest_class),),
    ),
    Fault(
        "crypto-assets sold after the ban",
        "uk-cfd",
        ("2021-01-06",),
        ((cfd, "closed_to_retail", _no_ban),),
    ),
    Fault(
        "the close-out at a third of the margin",
        "uk-cfd",
        ("2022-03-15",),
        policy=_with("close_out_level_ratio", 333_333),
    ),
)


def caught(fault: Fault, seed: int, most_batches: int = MOST_BATCHES) -> str | None:
    """The first breach that the oracle finds with the fault in place, or None."""
    with planted(fault):
        for k in range(most_batches):
            day = dt.date.fromisoformat(fault.days[k % len(fault.days)])
            found = batch(
                fault.pack,
                day,
                seed + 11 * k,
                BATCH,
                fault.policy,
                compared=0,
                stop_at_first=True,
            )
            if found.first is not None:
                return found.first
    return None
