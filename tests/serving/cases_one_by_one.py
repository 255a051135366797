"""The cases of a night made one object a client: what the written ones are held against."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np

from data_contracts.case import (
    Book,
    Case,
    Holding,
    Loan,
    MarginState,
    Previous,
    RelatedGroup,
    Request,
    Status,
)
from data_contracts.units import NULL
from features.book import CONTRACT_KIND_NAMES, BookAsOf


def _day(value: np.datetime64) -> dt.date | None:
    return None if np.isnat(value) else value.astype("datetime64[D]").item()


def _number(value: int) -> int | None:
    return None if value == NULL else int(value)


def books(view: BookAsOf) -> list[Book]:
    """Cash, shares and open loans of each client, in client order."""
    holdings: list[list[Holding]] = [[] for _ in range(view.clients)]
    p, symbols = view.positions, view.panel.symbols
    for client, symbol, quantity in zip(
        p.client.tolist(), p.symbol.tolist(), p.quantity_shares.tolist(), strict=True
    ):
        if quantity > 0:
            holdings[client].append(Holding(symbols[symbol], quantity))
    loans: list[list[Loan]] = [[] for _ in range(view.clients)]
    c = view.contracts
    for k in range(len(c.client)):
        loans[int(c.client[k])].append(
            Loan(
                contract_id=str(c.contract_id[k]),
                symbol=None if c.symbol[k] < 0 else symbols[int(c.symbol[k])],
                kind=CONTRACT_KIND_NAMES[int(c.kind[k])],
                opened_on=c.opened_on[k].astype("datetime64[D]").item(),
                due_on=_day(c.due_on[k]),
                quantity_shares=_number(int(c.quantity_shares[k])),
                outstanding_amt=int(c.outstanding_amt[k]),
                accrued_amt=int(c.accrued_amt[k]),
                ratio_at_opening=int(c.ratio_at_opening[k]),
                rate_bps=int(c.rate_bps[k]),
                rule_pack=str(c.rule_pack[k]),
            )
        )
    return [
        Book(int(view.cash[k]), tuple(holdings[k]), tuple(loans[k])) for k in range(view.clients)
    ]


def margin_states(view: BookAsOf) -> list[MarginState]:
    """``defaulted``, ``overdue`` (a call past its deadline), ``called`` or ``clear``."""
    called = ~np.isnat(view.called_on)
    overdue = called & (view.deadline_at < view.cut_off)
    names: list[MarginState] = ["clear", "called", "overdue", "defaulted"]
    state = np.where(view.in_default, 3, np.where(overdue, 2, np.where(called, 1, 0)))
    return [names[k] for k in state.tolist()]


def groups(view: BookAsOf) -> dict[str, list[int]]:
    """Members of each related group with at least two of them, in client order."""
    members: dict[str, list[int]] = {}
    for k, name in enumerate(view.related_group):
        if name:
            members.setdefault(str(name), []).append(k)
    return {name: rows for name, rows in members.items() if len(rows) > 1}


def nightly_cases(
    view: BookAsOf,
    *,
    run_id: str,
    currency: str,
    own_tier: np.ndarray,
    previous: Mapping[str, Previous],
) -> list[Case]:
    """One case a client of the view.

    Parameters
    ----------
    run_id : names the run; with client and session it names the decision
    own_tier : each client's own tier of the first pass; a group takes its members' worst
    previous : last published decision by client
    """
    own = books(view)
    states = margin_states(view)
    group_of: dict[int, RelatedGroup] = {}
    for name, rows in groups(view).items():
        worst = int(max(own_tier[k] for k in rows))
        for k in rows:
            others = tuple(own[j] for j in rows if j != k)
            group_of[k] = RelatedGroup(name, others, worst)
    account = {
        int(c): a
        for a, c in zip(
            reversed(view.account_ids), reversed(view.account_client.tolist()), strict=True
        )
    }
    known_at = view.cut_off.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)
    kyc = view.kyc
    return [
        Case(
            request=Request("nightly", run_id),
            client_id=client,
            account_id=account[k],
            currency=currency,
            as_of=view.session,
            known_at=known_at,
            status=Status(
                kyc_expires_on=_day(kyc.kyc_expires_on[k]),
                suitability_level=_number(int(kyc.suitability_level[k])),
                pep=bool(kyc.pep[k]),
                sanctioned=bool(kyc.sanctioned[k]),
                aml_level=str(kyc.aml_level[k] or "low"),
                automated_decision_refused=bool(kyc.automated_decision_refused[k]),
                margin_state=states[k],
            ),
            book=own[k],
            group=group_of.get(k),
            previous=previous.get(client),
        )
        for k, client in enumerate(view.client_ids)
    ]
