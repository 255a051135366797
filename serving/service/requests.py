"""What may be asked: bodies read strictly, each mistake named by its JSON Pointer."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from data_contracts.case import AML_LEVELS
from data_contracts.units import MAX_AMT, parse_decimal
from serving.service.problems import ProblemError

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,10})(\.[0-9]{1,2})?")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,128}")
BUREAU: Final = ("clear", "minor", "major", "thin")


def is_number(value: str) -> bool:
    """Whether it has the form of a client's, proposal's or run's number."""
    return _ID.fullmatch(value) is not None


def read_json(body: bytes) -> Any:
    """A body as JSON; the parser refuses NaN, lone surrogates and deep nesting."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(
            "body_not_json", f"the body is not JSON: line {error.lineno}, column {error.colno}"
        ) from None


class Reader:
    """Reads one JSON object, collecting every mistake before it refuses."""

    def __init__(
        self, document: Any, pointer: str = "", errors: list[dict[str, str]] | None = None
    ):
        self.errors: list[dict[str, str]] = [] if errors is None else errors
        self.pointer = pointer
        self.seen: set[str] = set()
        self.document: Mapping[str, Any] = {}
        if isinstance(document, dict):
            self.document = document
        else:
            self.wrong("", "it must be a JSON object")

    def wrong(self, name: str, why: str) -> None:
        """Note a mistake."""
        at = (
            f"{self.pointer}/{name.replace('~', '~0').replace('/', '~1')}" if name else self.pointer
        )
        self.errors.append({"pointer": at, "detail": why})

    def take(self, name: str, required: bool) -> Any:
        """A field's value; None where it is absent or null."""
        self.seen.add(name)
        value = self.document.get(name)
        if value is None and required:
            self.wrong(
                name, "it is missing" if name not in self.document else "it must not be null"
            )
        return value

    def text(self, name: str, required: bool = True, choices: tuple[str, ...] = ()) -> str | None:
        """A string, of some choices where they are given."""
        value = self.take(name, required)
        if value is None:
            return None
        if not isinstance(value, str) or (choices and value not in choices):
            told = f"one of {', '.join(choices)}" if choices else "a string"
            self.wrong(name, f"it must be {told}")
            return None
        return value

    def identity(self, name: str, required: bool = True) -> str | None:
        """A random number of a client, proposal or run."""
        value = self.text(name, required)
        if value is not None and not _ID.fullmatch(value):
            self.wrong(name, "it must be 1 to 64 letters, digits, '.', '_', ':' or '-'")
            return None
        return value

    def amount(self, name: str, required: bool = True) -> int | None:
        """Money from a decimal string, in minor units."""
        value = self.text(name, required)
        if value is None:
            return None
        if not _AMOUNT.fullmatch(value):
            self.wrong(name, 'it must be a decimal string with at most two places, like "1234.50"')
            return None
        minor = parse_decimal(value, 2, name)
        if minor > MAX_AMT:
            self.wrong(name, "it is above 90 billion; correct the amount or its unit")
            return None
        return minor

    def whole(self, name: str, low: int, high: int, required: bool = False) -> int | None:
        """An integer between two bounds, both included."""
        value = self.take(name, required)
        if value is None:
            return None
        if type(value) is float and value.is_integer():
            value = int(value)  # JSON knows no difference between 36 and 36.0
        if type(value) is not int or not low <= value <= high:
            self.wrong(name, f"it must be an integer from {low} to {high}")
            return None
        return value

    def flag(self, name: str) -> bool:
        """A required truth value."""
        value = self.take(name, True)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "it must be true or false")
        return bool(value)

    def date(self, name: str, required: bool = False) -> dt.date | None:
        """A date from its ISO 8601 form."""
        value = self.text(name, required)
        if value is None:
            return None
        try:
            if len(value) != 10:
                raise ValueError
            return dt.date.fromisoformat(value)
        except ValueError:
            self.wrong(name, "it must be a date like 2022-11-30")
            return None

    def instant(self, name: str) -> dt.datetime | None:
        """A time that may be left out, from its RFC 3339 form; its offset is part of it."""
        value = self.text(name, False)
        if value is None:
            return None
        try:
            if not _TIME.fullmatch(value):
                raise ValueError
            return dt.datetime.fromisoformat(value.upper())
        except ValueError:
            self.wrong(name, "it must be a time with offset like 2022-11-30T09:30:00+08:00")
            return None

    def inner(self, name: str) -> Reader:
        """An object inside."""
        value = self.take(name, True)
        return Reader({} if value is None else value, f"{self.pointer}/{name}", self.errors)

    def close(self) -> None:
        """Refuse fields that do not exist."""
        for name in self.document.keys() - self.seen:
            self.wrong(
                name, f"there is no such field; the fields are {', '.join(sorted(self.seen))}"
            )

    def finish(self) -> None:
        """Raise all mistakes as one problem."""
        if self.errors:
            first = self.errors[0]
            raise ProblemError(
                "body_invalid",
                f"{first['pointer'] or 'the body'}: {first['detail']}",
                errors=sorted(self.errors, key=lambda e: e["pointer"])[:20],
            )


@dataclass(frozen=True)
class Ask:
    """A decision that is asked for.

    ``stated`` holds an applicant's KYC; None for a client whom the published night knows.
    """

    client_id: str
    currency: str
    requested_debt_amt: int | None
    stated: Mapping[str, Any] | None = None


_AMOUNTS: Final = ("income_amt", "net_worth_amt", "liquid_assets_amt", "initial_deposit_amt")
"""``initial_deposit_amt`` is what the applicant will bring: the equity that a limit can rest on."""


def _stated(r: Reader) -> dict[str, Any]:
    stated: dict[str, Any] = {name: r.amount(name, False) for name in _AMOUNTS}
    stated["experience_months"] = r.whole("experience_months", 0, 1200)
    stated["suitability_level"] = r.whole("suitability_level", 1, 5)
    stated["literacy_score"] = r.whole("literacy_score", 0, 100)
    stated["bureau_status"] = r.text("bureau_status", False, BUREAU)
    stated["kyc_verified_on"] = r.date("kyc_verified_on")
    stated["kyc_expires_on"] = r.date("kyc_expires_on")
    stated["pep"] = r.flag("pep")
    stated["sanctioned"] = r.flag("sanctioned")
    stated["aml_level"] = r.text("aml_level", True, AML_LEVELS)
    stated["automated_decision_refused"] = r.flag("automated_decision_refused")
    r.close()
    return stated


def read_ask(document: Any, currency: str) -> Ask:
    """A request for a decision, of an existing client or, with ``applicant``, of a new one."""
    r = Reader(document)
    client_id = r.identity("client_id")
    stated_currency = r.text("currency", True)
    if stated_currency is not None and stated_currency != currency:
        r.wrong("currency", f"this lender lends in {currency} (ISO 4217)")
    stated = None
    if r.document.get("applicant") is not None:
        stated = _stated(r.inner("applicant"))
    requested = r.amount("requested_debt_amt", required=stated is not None)
    r.seen.add("applicant")
    r.close()
    r.finish()
    assert client_id is not None
    return Ask(client_id, currency, requested, stated)


def idempotency_key(value: str | None) -> str:
    """The header of a request that must take effect once."""
    if value is None or not _KEY.fullmatch(value):
        raise ProblemError(
            "header_missing",
            "send an Idempotency-Key of 1 to 128 visible ASCII characters, new for each request;"
            " repeat it only with the same body",
        )
    return value


def language(accept: str | None) -> str:
    """``zh`` or ``en`` from an ``Accept-Language`` header (BCP 47, RFC 9110); en by default.

    >>> language("zh-Hans-CN,zh;q=0.9,en;q=0.8"), language("fr"), language(None)
    ('zh', 'en', 'en')
    """
    best, chosen = 0.0, "en"
    for part in (accept or "")[:200].split(","):
        tag, _, rest = part.strip().partition(";")
        primary = tag.strip().lower().partition("-")[0]
        quality = 1.0
        if rest.strip().startswith("q="):
            try:
                quality = float(rest.strip()[2:])
            except ValueError:
                quality = 0.0
        if primary in ("zh", "en") and quality > best:
            best, chosen = quality, primary
    return chosen
