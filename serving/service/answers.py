"""From a recorded entry to what its reader is shown: a pure function, so a repeat is the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from data_contracts.units import format_decimal
from models.decide.facts import LINE_NAMES
from models.reasons import CATALOGUE, render
from models.reasons.catalogue import Language

DECISION_KIND: Final = "decision"
_PLAIN: Final = (
    "decision_id", "engine_version", "client_id", "currency", "as_of", "effective_on", "supersedes",
    "provisional", "tier", "rate_bps", "binding", "debt_amt", "equity_amt",
)  # fmt: skip


def _prob(value: int) -> str:
    return format_decimal(value, 9)


def _ratio(value: int | None) -> str | None:
    return None if value is None else format_decimal(value, 6)


def reasons_for(
    reasons: list[dict[str, Any]], reader: str, language: str, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The reasons a reader may see, each with its text in the language."""
    shown = []
    for reason in reasons:
        text = render(reason, cast(Language, language), reader, names)
        if text is not None:
            audience = CATALOGUE[reason["code"]].audience
            shown.append(
                {"code": reason["code"], "audience": audience, "language": language, "text": text}
            )
    return shown


def decision_answer(
    entry: Mapping[str, Any], reader: str, language: str, names: Mapping[str, str]
) -> dict[str, Any]:
    """The answer to ``POST /v1/decisions`` from the entry that it left.

    Parameters
    ----------
    entry : the entry's body: decision, settled answer, facts
    reader : ``client``, ``staff`` or ``compliance``; what is above it is left out
    language : ``en`` or ``zh``
    names : display names of features in that language
    """
    body, settled = entry["decision"], entry["settled"]
    leverage = body["max_leverage_milli"]
    answer = {name: body[name] for name in _PLAIN}
    answer |= {
        "outcome": settled["outcome"],
        "requested_debt_amt": body["request"]["requested_debt_amt"],
        "max_debt_amt": settled["max_debt_amt"],
        "max_leverage": None if leverage is None else format_decimal(leverage, 3),
        "stale": settled["stale"],
        "pd": {k: _prob(v) for k, v in body["pd"].items()},
        "lgd": _ratio(body["lgd_ratio"]),
        "expected_loss_amt": body["expected_loss_amt"],
        "cap_waterfall": body["cap_waterfall"],
        "rate_waterfall": body["rate_waterfall"],
        "maintenance": _ratio(body["maintenance_ratio"]),
        "lines": [
            {
                "line": name,
                "maintenance": _ratio(body["lines"][name]),
                "distance": _ratio(body["distances"][name]),
            }
            for name in LINE_NAMES
        ],
        "reasons": reasons_for(settled["reasons"], reader, language, names),
        "hashes": body["hashes"],
        "decision_sha256": entry["decision_sha256"],
    }
    if reader != "client":
        answer["attributions"] = body["attributions"]
        answer["conditions"] = [fact["condition"] for fact in entry["facts"]]
    return answer


def limits_answer(answer: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The part of an answer that ``GET /v1/clients/{id}/limits`` shows."""
    kept = (
        "client_id", "decision_id", "as_of", "effective_on", "currency", "outcome", "tier",
        "debt_amt", "equity_amt", "max_debt_amt", "max_leverage", "stale", "binding", "rate_bps",
        "maintenance", "lines",
    )  # fmt: skip
    return {**{name: answer[name] for name in kept}, "source": source}
