"""What a decision needs of the published night, and what is known about model and data.

A world is immutable: a new night, a release or a measurement of drift or monitors makes a new one.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from data_contracts.case import Book, Case, Request, Status
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.lake import refuse_stopped
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import IntArray
from features.applicant import applicant_row
from features.online import Snapshot
from models.bundle import APPLICATION_FOLDER, Bundle
from models.conditions import DRIFT_RED_E6, Fact, out_of_domain
from models.policy import Policy, load_pack
from serving.ledger import LedgerReader
from serving.nightly.monitors import MONITORS_KIND
from serving.publish import CURRENT_FILE, DRIFT_KIND, ONLINE_FOLDER, CaseStore
from serving.service.requests import Ask


@dataclass(frozen=True)
class Prepared:
    """One client's inputs, and what stands in the way of deciding on them automatically."""

    case: Case
    row: IntArray
    facts: tuple[Fact, ...]
    published_amt: str | None
    published_decision: str | None
    applicant: bool


@dataclass(frozen=True)
class World:
    """The night in force."""

    run_id: str
    started: dict[str, Any]
    bundle: Bundle
    application: Bundle | None
    policy: Policy
    market: MarketSnapshot
    features: Snapshot
    cases: CaseStore
    contract: Fact | None
    review_on: dt.date | None
    application_review_on: dt.date | None
    drift_e6: int | None
    red: tuple[str, ...] = ()

    def facts_now(self, now: dt.datetime, applicant: bool = False) -> list[Fact]:
        """The conditions that hold for every client, or every applicant, at an instant."""
        own = applicant and self.application is not None
        review_on = self.application_review_on if own else self.review_on
        facts = [] if self.contract is None else [self.contract]
        if review_on is None:
            facts.append(Fact("model_not_released"))
        elif review_on < now.date():
            facts.append(Fact("model_past_review", {"review_on": review_on.isoformat()}))
        if self.drift_e6 is None:
            facts.append(Fact("drift_unknown"))
        elif self.drift_e6 >= DRIFT_RED_E6:
            facts.append(Fact("drift_red", {"index_e6": self.drift_e6}))
        if self.red:
            facts.append(Fact("monitor_red", {"monitors": ", ".join(self.red)}))
        return facts

    def stale_now(self, now: dt.datetime) -> Fact | None:
        """Whether the night's features have run out."""
        if now <= self.features.good_until:
            return None
        return Fact(
            "features_stale",
            {
                "as_of": self.features.as_of.isoformat(),
                "good_until": self.features.good_until.isoformat(),
            },
        )

    def prepare(self, ask: Ask, key: str, now: dt.datetime) -> Prepared | None:
        """The inputs of a decision; None for a client whom the night does not know.

        ``key`` names the request. The features of a stale night are used and said to be stale: the
        answer then never exceeds what was published.
        """
        if ask.stated is not None:
            return self._applicant(ask, key, now)
        found = self.cases.read(ask.client_id)
        if found is None:
            return None
        # read as of the night: staleness is a fact of the answer here, not a refusal
        row = self.features.read(ask.client_id, min(now, self.features.good_until))
        facts = self.facts_now(now)
        stale = self.stale_now(now)
        if stale is not None:
            facts.append(stale)
        outside = out_of_domain(row, self.bundle.features["features"])
        if outside is not None:
            facts.append(outside)
        kind = "application" if ask.requested_debt_amt is not None else "nightly"
        request = Request(kind, key, ask.requested_debt_amt)  # type: ignore[arg-type]
        case = replace(found.case, request=request)
        return Prepared(case, row, tuple(facts), found.max_debt_amt, found.decision_id, False)

    def _applicant(self, ask: Ask, key: str, now: dt.datetime) -> Prepared:
        assert ask.stated is not None
        stated = ask.stated
        bundle = self.application or self.bundle
        row, outside = applicant_row(stated, self.market.session, bundle.names)
        facts = self.facts_now(now, applicant=True)
        stale = self.stale_now(now)
        if stale is not None:
            facts.append(stale)
        if self.application is None or stated["bureau_status"] in (None, "thin"):
            facts.append(Fact("thin_file"))
        if outside:
            name, value = outside[0]
            facts.append(Fact("out_of_domain", {"feature": name, "value": int(value)}))
        case = Case(
            request=Request("application", key, ask.requested_debt_amt),
            client_id=ask.client_id,
            account_id="none",
            currency=ask.currency,
            as_of=self.market.session,
            known_at=now,
            status=Status(
                kyc_expires_on=stated["kyc_expires_on"],
                suitability_level=stated["suitability_level"],
                pep=stated["pep"],
                sanctioned=stated["sanctioned"],
                aml_level=stated["aml_level"],
                automated_decision_refused=stated["automated_decision_refused"],
            ),
            book=Book(stated["initial_deposit_amt"] or 0, (), ()),
        )
        return Prepared(case, row, tuple(facts), None, None, True)

    def bundle_for(self, prepared: Prepared) -> Bundle:
        """The scorer of a prepared case."""
        if prepared.applicant and self.application is not None:
            return self.application
        return self.bundle

    def frame(self, bundle: Bundle, prepared: list[Prepared]) -> FeatureFrame:
        """The rows of several clients as one frame."""
        return FeatureFrame(
            str(bundle.features["feature_set"]),
            bundle.feature_set_sha256,
            bundle.names,
            tuple(p.case.client_id for p in prepared),
            self.market.session,
            np.stack([p.row for p in prepared]),
        )

    def close(self) -> None:
        """Close the night's files."""
        self.features.close()
        self.cases.close()


def load_world(root: Path, reader: LedgerReader) -> World:
    """The published night with everything known about it.

    Raises
    ------
    InputError
        If no night is published, or its bundle, market or features cannot be used.
    """
    path = root / ONLINE_FOLDER / CURRENT_FILE
    if not path.is_file():
        raise InputError(f"no night is published in {root}; `gearline serve` publishes the last")
    current = orjson.loads(path.read_bytes())
    run_id, started = current["run_id"], current["started"]
    bundle = Bundle.read(root / started["bundle_path"])
    market = MarketSnapshot.read(root / "runs" / run_id / "market")
    policy = load_pack(started["policy"]).on(dt.date.fromisoformat(started["effective_on"]))
    for name, have, want in (
        ("bundle", bundle.sha256, started["bundle"]),
        ("market snapshot", market.sha256, started["market"]),
        ("policy pack", policy.sha256, started["policy_sha256"]),
    ):
        if have != want:
            raise InputError(
                f"the {name} is not the one run {run_id} was decided with; restore it, or reprice"
            )
    folder = root / ONLINE_FOLDER / run_id
    features = Snapshot.open(folder / "features.sqlite", any_thread=True)
    if features.feature_set_sha256 != bundle.feature_set_sha256:
        features.close()
        raise InputError("the published features are of another set than the bundle; publish again")
    folder_for_applicants = root / APPLICATION_FOLDER
    application = Bundle.read(folder_for_applicants) if folder_for_applicants.is_dir() else None
    try:
        refuse_stopped(root)
        contract = None
    except InputError as error:
        contract = Fact("contract_failed", {"what": str(error)[:200]})
    return World(
        run_id,
        started,
        bundle,
        application,
        policy,
        market,
        features,
        CaseStore(folder / "cases.sqlite"),
        contract,
        _review_date(reader, bundle.sha256),
        None if application is None else _review_date(reader, application.sha256),
        _drift(reader, run_id),
        _red(reader, run_id),
    )


def _review_date(reader: LedgerReader, bundle: str) -> dt.date | None:
    for entry in reader.latest("kind/model_released", 1000):
        if entry.body.get("bundle") == bundle:
            return dt.date.fromisoformat(str(entry.body["review_on"]))
        if entry.body.get("retires") == bundle:
            return None
    return None


def _drift(reader: LedgerReader, run_id: str) -> int | None:
    for entry in reader.latest(f"run_id/{run_id}", 1000):
        if entry.kind == DRIFT_KIND:
            return int(str(entry.body["stability_e6"]))
    return None


def _red(reader: LedgerReader, run_id: str) -> tuple[str, ...]:
    """The monitors of a night that were red when last measured, and fail closed."""
    for entry in reader.latest(f"run_id/{run_id}", 1000):
        if entry.kind == MONITORS_KIND:
            return tuple(entry.body["closes"])  # type: ignore[arg-type]
    return ()
