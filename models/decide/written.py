"""The written form of decisions: canonical bytes and hashes of many rows, from integer columns.

The same bytes as ``canonical_bytes`` of the row form's body, which a test and ``bench decide`` hold
equal. A form is a list of steps (constant text, integers, amounts, texts) that one compiled loop
walks for every row; keys stand in the order of RFC 8785.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from data_contracts.decision import DECISION_ENGINE_VERSION, OUTCOMES
from data_contracts.units import NULL, BoolArray, IntArray
from models.decide import kernel
from models.decide.cases import REQUEST_KINDS
from models.decide.columns import DecisionColumns
from models.decide.facts import (
    BOUND_CODES,
    HOUSE,
    LINE_NAMES,
    OVERWEIGHT,
    PATHS,
    PRINCIPAL_REASONS,
    Facts,
    facts,
)
from models.decide.form import Form
from models.decide.gates import GATES
from models.margin.cap import CAP_TERMS
from models.margin.limits import NO_LIMIT
from models.margin.paths import UNDEFINED
from models.policy import CONTRACTS
from models.price.rate import RATE_COMPONENTS
from models.tiers import DEFAULT_TIER

ROWS_AT_ONCE: Final = 256
"""A megabyte of documents: still in the cache when they are hashed."""
LONGEST_DOCUMENT: Final = 40_000
TIER_TEXTS: Final = ("1", "2", "3", "4", "5", "6", "7", "D")


def _reasons(f: Form, d: DecisionColumns, said: Facts) -> None:
    c = d.columns

    def begin(holds: BoolArray) -> int:
        begun = f.unless(holds)
        f.step(kernel.SEPARATOR)
        return begun

    def plain(holds: BoolArray, code: str) -> None:
        begun = begin(holds)
        f.literal(f'{{"args":{{}},"code":"{code}"}}')
        f.end(begun)

    policy = d.policy
    f.literal('"reasons":[')
    f.step(kernel.RESTART)
    for code in GATES:
        if code == "gate_unsuitable":
            begun = begin(d.gate.closed[code])
            f.literal(f'{{"args":{{"least":{policy["minimum_suitability_level"]},"level":')
            f.integer(c.suitability)
            f.literal(f'}},"code":"{code}"}}')
            f.end(begun)
        elif code == "gate_kyc_expired":
            begun = begin(d.gate.closed[code])
            f.literal('{"args":{"expired_on":')
            f.text(c.kyc_text)
            f.literal(f'}},"code":"{code}"}}')
            f.end(begun)
        elif code == "gate_inexperienced":
            begun = begin(d.gate.closed[code])
            least = policy.get("suitability_experience_months", 0)
            f.literal(f'{{"args":{{"least":{least},"months":')
            f.integer(c.experience)
            f.literal(f'}},"code":"{code}"}}')
            f.end(begun)
        elif code == "gate_assets_too_low":
            begun = begin(d.gate.closed[code])
            f.literal('{"args":{"assets":')
            f.amount(c.mean_assets)
            f.literal(',"least":')
            f.amount(np.full(len(d), policy.get("suitability_minimum_assets_amt", 0)))
            f.literal(f'}},"code":"{code}"}}')
            f.end(begun)
        else:
            plain(d.gate.closed[code], code)
    begun = begin(said.unfinanced)
    f.literal('{"args":{"symbol":')
    f.text(c.request_symbol)
    f.literal('},"code":"not_financed"}')
    f.end(begun)
    begun = begin(said.above)
    f.literal('{"args":{"limit":')
    f.amount(d.cap.cap)
    f.literal(',"requested":')
    f.amount(c.requested)
    f.literal('},"code":"request_above_limit"}')
    f.end(begun)
    begun = begin(said.over)
    f.literal('{"args":{"debt":')
    f.amount(d.debt_amt)
    f.literal(',"limit":')
    f.amount(d.cap.cap)
    f.literal('},"code":"debt_above_limit"}')
    f.end(begun)
    plain(d.unpriced > 0, "unpriced_holding")
    plain(said.provisional, "provisional")
    for k, code in enumerate(BOUND_CODES):
        begun = begin(said.bound == k)
        f.literal('{"args":{')
        if code == "bound_statutory":
            f.literal('"reference":')
            f.choice(said.reference, said.references)
        elif code == "bound_line":
            f.literal('"gap":')
            f.percent(d.books.portfolio_gap)
        elif code == "bound_concentration":
            f.literal('"weight":')
            f.percent(d.books.largest_weight)
        elif code == "bound_structural":
            f.literal('"margin":')
            f.percent(d.books.portfolio_margin)
        elif code == "bound_behavioural":
            f.literal('"share":')
            f.percent(said.tier_share)
            f.literal(',"tier":')
            f.choice(d.tiers.tier - 1, TIER_TEXTS)
        elif k == PATHS:
            f.literal('"chance":')
            f.percent(d.books.paths.budget)
            f.literal(',"margin":')
            f.percent(d.books.portfolio_margin)
        elif k == HOUSE:
            f.literal('"ratio":')
            f.percent(said.house_ratio)
            f.literal(',"reference":')
            f.choice(said.reference, said.references)
        f.literal(f'}},"code":"{code}"}}')
        f.end(begun)
    begun = begin(said.overweight)
    f.literal('{"args":{"points":')
    f.percent(d.books.concentration_margin)
    f.literal(',"weight":')
    f.percent(d.books.largest_share)
    f.literal(f'}},"code":"{OVERWEIGHT}"}}')
    f.end(begun)
    names = d.bundle.names
    rows = np.arange(len(d))
    for k in range(PRINCIPAL_REASONS):
        family, feature = said.family[:, k], np.maximum(said.feature[:, k], 0)
        begun = begin(family >= 0)
        f.literal('{"args":{"attribution":')
        f.integer(said.attribution[:, k])
        f.literal(',"feature":')
        f.choice(feature, names)
        f.literal(',"value":')
        f.integer(d.features.values[rows, feature])
        f.literal('},"code":')
        f.choice(np.maximum(family, 0), [f"factor_{n}" for n in said.families])
        f.literal("}")
        f.end(begun)
    f.literal("]")


def _null_where(values: IntArray, undefined: BoolArray) -> IntArray:
    return np.where(undefined, NULL, values)


def _form(d: DecisionColumns) -> Form:
    """The form of a decision's body: every key in order."""
    c, policy, market, bundle = d.columns, d.policy, d.market, d.bundle
    f, said = Form(len(d)), facts(d)
    f.literal('{"account_id":')
    f.text(c.account_id)
    f.literal(f',"as_of":"{market.session.isoformat()}","attributions":{{"base":')
    f.literal(f'{bundle.head.base_attribution},"values":[')
    f.step(kernel.LIST)
    f.literal(']},"binding":')
    f.choice(d.cap.binding, CAP_TERMS)
    f.literal(',"candidate_sessions":')
    f.integer(d.tiers.candidate_sessions)
    f.literal(',"candidate_tier":')
    f.count(d.tiers.candidate)
    f.literal(',"cap_waterfall":[')
    for k, term in enumerate(CAP_TERMS):
        f.literal(("," if k else "") + '{"limit_amt":')
        limit = d.cap.limits[:, k]
        f.amount(_null_where(limit, limit >= NO_LIMIT))
        f.literal(',"removed_amt":')
        f.amount(d.cap.removed[:, k])
        f.literal(f',"term":"{term}"}}')
    f.literal('],"capital":{"ratio":')
    f.integer(d.capital.ratio)
    f.literal(',"sold_pd":')
    f.integer(d.capital.sold_pd)
    f.literal(',"sold_ratio":')
    f.integer(d.capital.sold_ratio)
    tail = orjson.dumps(d.capital.source).decode()
    f.literal(f',"tail":{tail},"tail_loss_ratio":')
    f.integer(d.capital.tail_loss)
    f.literal(f',"tail_paths":{d.capital.paths}')
    f.literal('},"client_id":')
    f.text(c.client_id)
    f.literal(f',"counterfactuals":[],"currency":"{policy.currency}","debt_amt":')
    f.amount(d.debt_amt)
    f.literal(',"decision_id":"')
    f.step(kernel.UUID, ID_AT)
    f.literal('","distances":{')
    undefined = d.books.maintenance == NULL
    for k, name in enumerate(sorted(LINE_NAMES)):
        f.literal(("," if k else "") + f'"{name}":')
        f.integer(_null_where(said.distance[:, LINE_NAMES.index(name)], undefined))
    f.literal('},"ead_amt":')
    f.amount(d.ead_amt)
    f.literal(f',"effective_on":"{policy.effective_on.isoformat()}"')
    f.literal(f',"engine_version":"{DECISION_ENGINE_VERSION}","equity_amt":')
    f.amount(d.books.equity)
    f.literal(',"expected_loss_amt":')
    f.amount(d.expected_loss_amt)
    f.literal(f',"hashes":{{"bundle":"{bundle.sha256}","case":"')
    f.step(kernel.HEX, CASE_AT)
    f.literal(f'","feature_set":"{bundle.feature_set_sha256}","features":"')
    f.step(kernel.HEX, FEATURES_AT)
    f.literal(f'","market":"{market.sha256}","policy":"{policy.sha256}"')
    f.literal(f',"reference":"{bundle.reference_sha256}"}},"lgd_ratio":')
    f.integer(d.lgd)
    f.literal(',"lines":{')
    for k, name in enumerate(sorted(LINE_NAMES)):
        f.literal(("," if k else "") + f'"{name}":')
        line = d.books.lines[:, LINE_NAMES.index(name)]
        if policy.kind == CONTRACTS:
            f.integer(line)
        else:
            f.literal(str(policy[f"{name}_line_ratio"]))
    f.literal('},"maintenance_ratio":')
    f.integer(d.books.maintenance)
    f.literal(',"max_debt_amt":')
    f.amount(d.cap.cap)
    f.literal(',"max_leverage_milli":')
    f.integer(d.cap.leverage_milli)
    f.literal(',"month_change_bps":')
    f.integer(d.rate.month_change_bps)
    f.literal(',"outcome":')
    f.choice(d.outcome, OUTCOMES)
    f.literal(',"pd":{"high":')
    f.integer(d.pd_high)
    f.literal(',"low":')
    f.integer(d.pd_low)
    f.literal(',"value":')
    f.integer(d.pd)
    f.literal('},"provisional":')
    f.raw_choice(d.books.invested == 0, [b"false", b"true"])
    f.literal(',"quarter_changes":')
    f.integer(d.rate.quarter_changes)
    f.literal(',"rate_bps":')
    f.integer(d.rate.rate_bps)
    f.literal(',"rate_waterfall":[')
    for k, name in enumerate(RATE_COMPONENTS):
        f.literal(("," if k else "") + '{"bps":')
        f.integer(d.rate.components[:, k])
        f.literal(f',"component":"{name}"}}')
    f.literal("],")
    _reasons(f, d, said)
    f.literal(',"request":{"key":')
    f.text(c.request_key)
    f.literal(',"kind":')
    f.choice(c.kind, REQUEST_KINDS)
    f.literal(',"requested_debt_amt":')
    f.amount(c.requested)
    f.literal(',"symbol":')
    f.text(c.request_symbol)
    f.literal('},"score":')
    f.integer(d.score)
    f.literal(',"soft_cap_amt":')
    f.amount(d.cap.soft)
    paths = d.books.paths
    f.literal(',"structural":{"base_margin_ratio":')
    f.integer(paths.base_margin)
    f.literal(',"budget_ratio":')
    f.integer(paths.budget)
    f.literal(',"chance_ratio":')
    f.integer(paths.chance)
    f.literal(',"concentration_margin_ratio":')
    f.integer(d.books.concentration_margin)
    f.literal(',"margin_ratio":')
    f.integer(paths.margin)
    f.literal(f',"paths":{paths.paths},"standard_error_ratio":')
    f.integer(paths.error)
    f.literal(f',"stretch_ratio":{d.books.stretch},"undefined":')
    f.raw_choice(paths.why, [orjson.dumps(w) for w in UNDEFINED])
    f.literal('},"supersedes":')
    f.text(c.supersedes)
    f.literal(',"tier":')
    f.choice(d.tiers.tier - 1, TIER_TEXTS)
    f.literal("}")
    assert len(TIER_TEXTS) == DEFAULT_TIER
    return f


@dataclass(frozen=True)
class Written:
    """Some rows in writing: their bytes one after the other, and each row's SHA-256."""

    data: memoryview
    start: list[int]
    sha256: list[bytes]

    def __iter__(self) -> Iterator[bytes]:
        """The canonical bytes of each row."""
        for k in range(len(self.sha256)):
            yield bytes(self.data[self.start[k] : self.start[k + 1]])


ID_AT, CASE_AT, FEATURES_AT = 0, 32, 64
"""Where a row's digests lie: of what its id is made of, of its case, of its features."""


def _digests(d: DecisionColumns, first: int, stop: int) -> npt.NDArray[np.uint8]:
    """The digests of each row that its body holds, shape (rows, 96)."""
    sha, c = hashlib.sha256, d.columns
    values = np.ascontiguousarray(d.features.values[first:stop], dtype="<i8")
    width = values.shape[1] * 8
    row = values.tobytes()
    parts = (
        [sha(name).digest() for name in c.names[first:stop]],
        [sha(document).digest() for document in c.documents[first:stop]],
        [sha(row[at : at + width]).digest() for at in range(0, len(row), width)],
    )
    made = [np.frombuffer(b"".join(p), dtype=np.uint8).reshape(-1, 32) for p in parts]
    return np.concatenate(made, axis=1)


def _rows(
    d: DecisionColumns, arrays: dict[str, Any], first: int, stop: int, rows_at_once: int
) -> Iterator[Written]:
    """Rows ``first`` to ``stop`` in writing, in a buffer of their own."""
    lists = np.ascontiguousarray(d.attributions)
    out = np.empty(LONGEST_DOCUMENT + 8_192 * rows_at_once, dtype=np.uint8)
    start = np.empty(rows_at_once + 1, dtype=np.int64)
    sha = hashlib.sha256
    for begin in range(first, stop, rows_at_once):
        end = min(begin + rows_at_once, stop)
        count = end - begin
        digests = _digests(d, begin, end)
        while True:
            length = kernel.write_rows(
                0,
                count,
                arrays["code"],
                arrays["a"],
                arrays["b"],
                arrays["literals"],
                arrays["piece"],
                arrays["values"][begin:end],
                arrays["texts"],
                arrays["text_at"][begin:end],
                digests,
                lists[begin:end],
                out,
                start,
            )
            if length >= 0:
                break
            out = np.empty(2 * len(out), dtype=np.uint8)
        data = out.data
        at = start[: count + 1].tolist()
        yield Written(data, at, [sha(data[i:j]).digest() for i, j in pairwise(at)])


def written(d: DecisionColumns, rows_at_once: int = ROWS_AT_ONCE) -> Iterator[Written]:
    """The written form of every row, some at a time; each is valid until the next is asked for.

    The bytes are those of ``canonical_bytes(body)`` for the row form's body.
    """
    if len(d):
        yield from _rows(d, _form(d).assembled(), 0, len(d), rows_at_once)


def hashes(d: DecisionColumns, threads: int = 1) -> list[bytes]:
    """``decision_sha256`` of every row, in row order, whatever the threads."""
    if len(d) == 0:
        return []
    d.columns.prepare()
    arrays = _form(d).assembled()
    each = -(-len(d) // max(1, threads))
    parts = [(k, min(k + each, len(d))) for k in range(0, len(d), each)]

    def part(bounds: tuple[int, int]) -> list[bytes]:
        return [h for w in _rows(d, arrays, *bounds, ROWS_AT_ONCE) for h in w.sha256]

    if len(parts) == 1:
        return part(parts[0])
    with ThreadPoolExecutor(len(parts)) as pool:
        return [h for done in pool.map(part, parts) for h in done]
