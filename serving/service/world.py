"""What a decision needs of the published night, and what is known about model and data.

A world is immutable: a new night, a release or a measurement of drift or monitors makes a new one.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
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
from models.bundle import APPLICATION_FOLDER, Bundle, BundleUnknownError, kept_bundle
from models.conditions import DRIFT_RED_E6, Fact, out_of_domain
from models.lifecycle import RELEASED_KIND
from models.policy import Pack, Policy
from models.policy.kept import pack_with
from serving.approved import approved_packs, released_models
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
    pack: Pack
    red: tuple[str, ...] = ()
    later: tuple[tuple[dt.datetime, World], ...] = ()
    """What approved proposals make of this world, each from an instant on, ascending."""

    def at(self, now: dt.datetime) -> World:
        """The world in force at an instant: approved packs and models come into force in time."""
        found = self
        for since, world in self.later:
            if since > now:
                break
            found = world
        return found

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


def load_world(root: Path, reader: LedgerReader, now: dt.datetime) -> World:
    """The published night with everything known about it, and what comes into force after ``now``.

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
    pack = pack_with(root, started["policy"], started["policy_sha256"])
    policy = pack.on(dt.date.fromisoformat(started["effective_on"]))
    for name, have, want in (
        ("bundle", bundle.sha256, started["bundle"]),
        ("market snapshot", market.sha256, started["market"]),
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
    world = World(
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
        pack,
        _red(reader, run_id),
    )
    return replace(world, later=tuple(_succession(root, reader, world, now)))


def _succession(
    root: Path, reader: LedgerReader, night: World, now: dt.datetime
) -> Iterator[tuple[dt.datetime, World]]:
    """The night's world as approved proposals change it, from the last change before ``now`` on."""
    packs = [(a.since, a.position, a) for a in approved_packs(reader, night.pack.name)]
    models = [(a.since, a.position, a) for a in released_models(reader)]
    changes = sorted([(*p, True) for p in packs] + [(*m, False) for m in models])
    # of what lies behind only the last pack and the last models count
    world, past = night, [c for c in changes if c[0] <= now]
    last = next((c for c in reversed(past) if c[3]), None)
    if last is not None:
        world = _under(root, world, last[2].sha256)
    for *_, model, _ in [c for c in past if not c[3]]:
        world = _with_model(root, reader, world, model.sha256)
    if past:
        yield past[-1][0], world
    for since, _, approved, is_pack in changes[len(past) :]:
        of = _under(root, world, approved.sha256) if is_pack else None
        world = of or _with_model(root, reader, world, approved.sha256)
        yield since, world


def _under(root: Path, world: World, sha256: str) -> World:
    """The same night under another pack of its jurisdiction."""
    pack = pack_with(root, world.pack.name, sha256)
    return replace(world, pack=pack, policy=pack.on(world.policy.effective_on))


def _with_model(root: Path, reader: LedgerReader, world: World, sha256: str) -> World:
    """The same night with a released scorer; one of other features waits for a night with them."""
    try:
        bundle = Bundle.read(kept_bundle(root, sha256))
    except BundleUnknownError:
        return world
    review_on = _review_date(reader, sha256)
    if bundle.feature_set_sha256 == world.features.feature_set_sha256:
        return replace(world, bundle=bundle, review_on=review_on)
    own = world.application
    if own is not None and bundle.feature_set_sha256 == own.feature_set_sha256:
        return replace(world, application=bundle, application_review_on=review_on)
    return world


def _review_date(reader: LedgerReader, bundle: str) -> dt.date | None:
    for entry in reader.latest(f"kind/{RELEASED_KIND}", 1000):
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
