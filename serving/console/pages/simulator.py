"""What if: the production engine on a changed case, within what the data has seen."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import numpy as np
import pyarrow.parquet as pq
from starlette.responses import Response

from data_contracts.case import Case, Request
from data_contracts.errors import InputError
from data_contracts.units import NULL, RATIO_ONE, IntArray, format_decimal, parse_decimal
from models.decide import decide_columns
from models.decide.body import bodies
from models.maintenance.what_if import AskLess, Deposit, Lever, PriceMove, Repay, Sell, what_if
from serving.console import decided
from serving.console.access import STAFF
from serving.console.frame import Frame, Page, Visit, whole
from serving.console.pages.client import Known, known_client
from serving.console.reviews import person, refuse_blind, store_of
from serving.nightly.segments import INPUTS_FILE
from serving.service.problems import ProblemError
from serving.service.world import World

SHOWN_AT_ONCE: Final = 8
LARGEST_MOVE: Final = 90
_PLAIN: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?", re.ASCII)
MONEY: Final = ("deposit", "withdraw", "repay", "ask")


@lru_cache(maxsize=2)
def seen(files: tuple[Path, ...]) -> list[tuple[int, int] | None]:
    """The least and greatest value of each feature in a night; None where it was always missing."""
    least: IntArray | None = None
    most: IntArray | None = None
    for path in files:
        table = pq.read_table(path.parent / INPUTS_FILE, columns=["features"], partitioning=None)
        if not table.num_rows:
            continue
        values = np.array(table["features"].to_pylist(), dtype=np.int64)
        info = np.iinfo(np.int64)
        low = np.where(values == NULL, info.max, values).min(axis=0)
        high = np.where(values == NULL, info.min, values).max(axis=0)
        least = low if least is None else np.minimum(least, low)
        most = high if most is None else np.maximum(most, high)
    if least is None or most is None:
        return []
    return [
        None if low > high else (low, high)
        for low, high in zip(least.tolist(), most.tolist(), strict=True)
    ]


def pages(frame: Frame) -> list[Page]:
    """The pages of this module."""
    s = Simulator(frame)
    return [
        Page("GET", "/console/simulator", STAFF, s.show),
        Page("POST", "/console/simulator", STAFF, s.run),
    ]


class WrongFieldError(InputError):
    """A field of the form that cannot be used; ``name`` says which."""

    def __init__(self, name: str, key: str, **values: str) -> None:
        super().__init__(f"{name}: {key}")
        self.name, self.key, self.values = name, key, values


def _decimal(text: str) -> Decimal | None:
    """A number as people write it; no exponent, whose digits could fill the memory."""
    return Decimal(text) if _PLAIN.fullmatch(text) else None


def _money(form: dict[str, str], name: str) -> int | None:
    text = form.get(name, "").strip().replace(",", "")
    if not text:
        return None
    if not _PLAIN.fullmatch(text):
        raise WrongFieldError(name, "simulator.money_wrong")
    try:
        amount = parse_decimal(text, 2, name)
    except InputError:
        raise WrongFieldError(name, "simulator.money_wrong") from None
    if amount < 0:
        raise WrongFieldError(name, "simulator.money_wrong")
    return amount


def levers_of(form: dict[str, str], case: Case) -> list[Lever]:
    """The levers of the form; price moves first.

    Raises
    ------
    WrongFieldError
        Naming the field.
    """
    found: list[Lever] = []
    move = form.get("price", "").strip()
    if move:
        percent = _decimal(move)
        if percent is None:
            raise WrongFieldError("price", "simulator.price_wrong")
        ratio = int(percent * RATIO_ONE / 100)
        if abs(ratio) > LARGEST_MOVE * RATIO_ONE // 100:
            raise WrongFieldError("price", "simulator.price_wrong")
        if ratio:
            found.append(PriceMove(ratio, form.get("symbol") or None))
    money = {name: _money(form, name) for name in MONEY}
    if money["deposit"]:
        found.append(Deposit(money["deposit"]))
    if money["withdraw"]:
        if money["withdraw"] > max(case.book.cash_amt, 0) + (money["deposit"] or 0):
            raise WrongFieldError("withdraw", "simulator.more_than_cash")
        found.append(Deposit(-money["withdraw"]))
    shares = form.get("sell_shares", "").strip()
    if shares and shares != "0":
        symbol = form.get("sell", "")
        held = {p.symbol: p.quantity_shares for p in case.book.positions}
        count = whole(shares)
        if count is None or symbol not in held or count > held[symbol]:
            raise WrongFieldError("sell_shares", "simulator.more_than_held")
        found.append(Sell(symbol, count))
    if money["repay"]:
        found.append(Repay(money["repay"]))
    if money["ask"] is not None:
        found.append(AskLess(money["ask"]))
    return found


class Simulator:
    """Runs ``decide`` on changed inputs; records nothing."""

    def __init__(self, frame: Frame) -> None:
        self._service = frame.service

    def _ranges(self, world: World) -> list[tuple[int, int] | None]:
        last = self._service.reader.latest(f"run_id/{world.run_id}", 10_000)
        finished = next(e.body for e in last if e.kind == "run_finished")
        names: Any = finished["segments"]
        return seen(tuple(self._service.settings.lake / n for n in names))

    async def _known(self, visit: Visit, client_id: str) -> Known:
        await refuse_blind(visit, client_id)
        world = self._service.engine.world
        facts = world.facts_now(self._service.settings.now())
        return await anyio.to_thread.run_sync(partial(known_client, world, client_id, facts))

    async def show(self, visit: Visit) -> Response:
        """The form for a client, with the decision as it stands."""
        client_id = visit.query("client").strip()
        if not client_id:
            # somebody whom the visitor may see at once; a number can be written then
            client_id = await anyio.to_thread.run_sync(partial(self._somebody, visit))
        known = await self._known(visit, client_id)
        return await self._page(visit, known, None, None)

    def _somebody(self, visit: Visit) -> str:
        now = self._service.settings.now()
        who, store = person(visit, now), store_of(visit)
        some = self._service.engine.world.cases.clients(50)
        free = (c for c in some if store.blind_to(c, who, now) is None)
        return next(free, next(iter(some), ""))

    async def _page(
        self,
        visit: Visit,
        known: Known,
        result: dict[str, Any] | None,
        wrong: WrongFieldError | None,
    ) -> Response:
        world = self._service.engine.world
        ranges = await anyio.to_thread.run_sync(partial(self._ranges, world))
        values = known.body["attributions"]["values"]
        order = sorted(range(len(values)), key=lambda k: (-abs(values[k]), k))
        declared = world.bundle.features["features"]
        fields = [
            _field(visit, declared[k], int(known.row[k]), ranges[k]) for k in order if ranges[k]
        ]
        template = (
            "fragments/simulated.html.j2"
            if visit.request.headers.get("hx-request")
            else "simulator.html.j2"
        )
        return visit.page(
            template,
            status=422 if wrong and template == "simulator.html.j2" else 200,
            client_id=known.case.client_id,
            now=decided.head(visit, known.body, known.body | {"stale": False}),
            first=fields[:SHOWN_AT_ONCE],
            rest=fields[SHOWN_AT_ONCE:],
            symbols=[p.symbol for p in known.case.book.positions],
            cash=visit.show.minor(known.case.book.cash_amt),
            form=visit.form,
            result=result,
            wrong=None if wrong is None else visit.words(wrong.key, **wrong.values),
            wrong_name=None if wrong is None else wrong.name,
            largest_move=LARGEST_MOVE,
        )

    async def run(self, visit: Visit) -> Response:
        """Decide on the changed case: the whole page, or the result alone for htmx."""
        known = await self._known(visit, visit.form.get("client", ""))
        try:
            result = await anyio.to_thread.run_sync(partial(self._result, visit, known))
        except WrongFieldError as wrong:
            return await self._page(visit, known, None, wrong)
        return await self._page(visit, known, result, None)

    def _result(self, visit: Visit, known: Known) -> dict[str, Any]:
        world = self._service.engine.world
        row = known.row.copy()
        for k, declared in enumerate(world.bundle.features["features"]):
            row[k] = _changed(visit, declared, int(row[k]), self._ranges(world)[k])
        try:
            case, market = what_if(known.case, world.market, levers_of(visit.form, known.case))
        except WrongFieldError:
            raise
        except InputError:
            # the levers are checked above; what is left is an order of theirs that cannot be
            raise WrongFieldError("form", "simulator.refused") from None
        if case.request.requested_debt_amt is not None:
            asked = case.request
            case = replace(
                case,
                request=Request("simulation", asked.key, asked.requested_debt_amt, asked.symbol),
            )
        try:
            made = decide_columns(
                [case],
                decided.frame_of(world, case.client_id, row),
                world.bundle,
                world.policy,
                market,
            )
            body = next(iter(bodies(made)))
        except InputError as error:
            raise ProblemError("body_invalid", str(error)) from None
        show, t, was = visit.show, visit.words, known.body

        def minor(text: str) -> int:
            return int(text.replace(".", ""))

        rows = []
        for name, before, after, shown, gap in (
            (
                "limit",
                minor(was["max_debt_amt"]),
                minor(body["max_debt_amt"]),
                show.minor,
                show.minor,
            ),
            ("rate", was["rate_bps"], body["rate_bps"], show.rate, None),
            ("pd", was["pd"]["value"], body["pd"]["value"], show.prob, None),
            ("maintenance", was["maintenance_ratio"], body["maintenance_ratio"], show.share, None),
        ):
            moved = (
                ""
                if before is None or after is None
                else (
                    gap(after - before, True)
                    if gap
                    else show.bps(after - before)
                    if name == "rate"
                    else ""
                )
            )
            rows.append(
                {
                    "name": t(f"field.{name}"),
                    "before": shown(before),
                    "after": shown(after),
                    "change": show.change(before, after, moved),
                }
            )
        return {
            "outcome_before": was["outcome"],
            "outcome": body["outcome"],
            "tier_before": was["tier"],
            "tier": body["tier"],
            "rows": rows,
            "reasons": decided.reasons(visit, body["reasons"]),
            "cap": decided.cap_rows(visit, body),
            "rate": decided.rate_rows(visit, body),
            "lines": decided.lines(visit, body),
        }


def _field(
    visit: Visit, declared: Any, value: int, bounds: tuple[int, int] | None
) -> dict[str, Any]:
    low, high = bounds or (0, 0)
    one = int(declared.get("one", 1))
    name = f"f.{declared['name']}"
    now = "" if value == NULL else _plain(value, one)
    return {
        "id": name,
        "name": visit.show.name(declared),
        "now": visit.show.feature(declared, None if value == NULL else value),
        "value": visit.form.get(name, now),
        "low": _plain(low, one),
        "high": _plain(high, one),
        "low_text": visit.show.feature(declared, low),
        "high_text": visit.show.feature(declared, high),
        "step": _plain(1, one) if one == 1 else "any",
    }


def _plain(value: int, one: int) -> str:
    """A quantised value as a decimal in its own unit: 0.35, not 350000."""
    places = len(str(one)) - 1
    text = format_decimal(value, places) if places else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _changed(visit: Visit, declared: Any, value: int, bounds: tuple[int, int] | None) -> int:
    """A feature as the form states it: unchanged, missing, or a value that the data has seen."""
    name = f"f.{declared['name']}"
    if name not in visit.form or bounds is None:
        return value
    text = visit.form[name].strip()
    one = int(declared.get("one", 1))
    if text == ("" if value == NULL else _plain(value, one)):
        return value
    if not text:
        return int(NULL)
    low, high = bounds
    stated = _decimal(text)
    given = low - 1 if stated is None else int((stated * one).to_integral_value())
    if not low <= given <= high:
        raise WrongFieldError(
            name,
            "simulator.outside",
            feature=visit.show.name(declared),
            low=visit.show.feature(declared, low),
            high=visit.show.feature(declared, high),
        )
    return given
