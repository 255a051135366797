"""`model promote`, `retire`, `rollback` and `status`: what they refuse, pin and show."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gearline
from data_contracts.provenance import TrainingRecord
from models.bundle import Bundle
from models.governance import PROPOSAL_KIND, Proposal, effect
from serving.ledger import Ledger, LedgerReader
from tests.models.builders import BUNDLE
from tests.service.lake import make_lake
from training.validation.signing import load_key, write_signed

OWN: Bundle = replace(BUNDLE, features={**BUNDLE.features, "feature_set": "behavioural/1"})
SOON = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)).isoformat()


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "lake"
    make_lake(root, released=False)
    return root


@pytest.fixture
def bundle(tmp_path):
    OWN.write(tmp_path / "bundle")
    TrainingRecord(OWN.sha256, {"bags": 5}, "d" * 64, 7).write(tmp_path / "bundle")
    return tmp_path / "bundle"


def report(tmp_path: Path, grade: int = 1, model: str = OWN.sha256) -> Path:
    folder = tmp_path / f"report-{grade}-{model[:4]}"
    folder.mkdir()
    document = {
        "subject": {"model_sha256": model},
        "self_test": {"checked": 1, "failed": 0},
        "grade": grade,
        "as_of": "2026-11-20",
        "findings": [],
    }
    write_signed(folder, document, load_key(tmp_path / "key.pem"))
    return folder


def promote(cli, lake, bundle, folder, *more, day=SOON):
    return cli(
        "model", "promote", bundle, "--report", folder, "--review-by", day, "--lake", lake,
        "--actor", "anna", "--json", *more,
    )  # fmt: skip


def approved(lake: Path, number: str) -> None:
    """Two people agree, as over HTTP."""
    where = lake / "ledger.sqlite"
    with LedgerReader(where) as reader:
        [entry] = reader.latest(f"proposal_id/{number}")
    proposal = Proposal.from_json(entry.body)
    for person in ("ben", "cleo"):
        proposal = proposal.approved(person, proposal.content_sha256)
    left = effect(proposal, dt.datetime.now(dt.UTC))
    assert left is not None
    body: dict[str, Any] = {**proposal.to_json(), "act": "approved", "actor": "cleo"}
    with Ledger.open(where) as ledger:
        ledger.append([{"kind": PROPOSAL_KIND, "body": body}, {"kind": left[0], "body": left[1]}])


def test_the_proposal_pins_what_was_approved_and_nothing_is_in_force_before(
    cli, lake, bundle, tmp_path
):
    made = promote(cli, lake, bundle, report(tmp_path)).document
    record = TrainingRecord.read(bundle, OWN.sha256)
    assert (made["bundle_sha256"], made["recipe_sha256"], made["data_sha256"]) == (
        OWN.sha256, record.recipe_sha256, "d" * 64,
    )  # fmt: skip
    assert (made["role"], made["purpose"], made["quorum"]) == ("champion", "clients", 2)
    status = cli("model", "status", "--lake", lake, "--json").document
    assert status["purposes"][0]["champion"] is None
    assert (lake / "bundles" / OWN.sha256[:16] / "bundle.json").is_file()
    kept = lake / "validation" / made["report_sha256"][:16] / "report.json"
    assert kept.is_file()
    approved(lake, made["proposal_id"])
    status = cli("model", "status", "--lake", lake, "--json").document
    champion = status["purposes"][0]["champion"]
    assert (champion["approvals"], champion["author"]) == (["ben", "cleo"], "anna")
    assert status["open"] == []


def test_the_same_promotion_is_one_proposal_and_after_a_rejection_another(
    cli, lake, bundle, tmp_path
):
    folder = report(tmp_path)
    first, again = (promote(cli, lake, bundle, folder).document for _ in range(2))
    assert (first["proposal_id"], again["repeated"]) == (again["proposal_id"], True)
    with LedgerReader(lake / "ledger.sqlite") as reader:
        [entry] = reader.latest(f"proposal_id/{first['proposal_id']}")
    gone = {**Proposal.from_json(entry.body).rejected("anna").to_json(), "act": "rejected"}
    with Ledger.open(lake / "ledger.sqlite") as ledger:
        ledger.append([{"kind": PROPOSAL_KIND, "body": gone}])
    third = promote(cli, lake, bundle, folder).document
    assert (third["repeated"], third["proposal_id"] != first["proposal_id"]) == (False, True)


def test_a_changed_report_or_one_under_another_key_or_of_another_bundle_is_refused(
    cli, lake, bundle, tmp_path
):
    folder = report(tmp_path)
    other = promote(cli, lake, bundle, folder, "--signed-by", "0" * 16)
    assert (other.code, "--signed-by names" in other.err) == (gearline.REFUSED, True)
    strange = promote(cli, lake, bundle, report(tmp_path, model="e" * 64))
    assert "validate this bundle" in strange.err
    path = folder / "report.json"
    path.write_bytes(path.read_bytes().replace(b'"grade": 1', b'"grade": 2'))
    assert "was changed after it was signed" in promote(cli, lake, bundle, folder).err
    with LedgerReader(lake / "ledger.sqlite") as reader:
        assert reader.latest(f"kind/{PROPOSAL_KIND}") == []


def test_grade_and_review_date_forbid(cli, lake, bundle, tmp_path):
    severe = report(tmp_path, grade=4)
    assert "grade is 4" in promote(cli, lake, bundle, severe).err
    assert promote(cli, lake, bundle, severe, "--as", "shadow").code == gearline.DONE
    past = promote(cli, lake, bundle, report(tmp_path), day="2020-01-01")
    assert (past.code, "which is past" in past.err) == (gearline.REFUSED, True)


def test_a_bundle_whose_training_is_not_on_record_is_refused(cli, lake, bundle, tmp_path):
    (bundle / "training.json").unlink()
    assert "which recipe and data made it" in promote(cli, lake, bundle, report(tmp_path)).err


def test_a_shadow_retires_and_status_finds_a_review_that_is_past(
    cli, lake, bundle, tmp_path, undocumented
):
    made = promote(cli, lake, bundle, report(tmp_path), "--as", "shadow").document
    approved(lake, made["proposal_id"])
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(days=31)).strftime("%Y-%m-%dT%H:%M:%SZ")
    late = cli("model", "status", "--lake", lake, "--at", later, "--json")
    assert (late.code, late.document["purposes"][0]["shadows"][0]["past_review"]) == (
        gearline.FOUND, True,
    )  # fmt: skip
    gone = cli("model", "retire", OWN.sha256[:8], "--lake", lake, "--actor", "anna", "--json")
    assert (gone.code, undocumented("model retire", gone.document)) == (gearline.DONE, [])
    approved(lake, gone.document["proposal_id"])
    status = cli("model", "status", "--lake", lake, "--json").document
    assert status["purposes"][0]["shadows"] == []
    assert "there are: none" in cli("model", "retire", "ab", "--lake", lake).err
    assert "no former champion" in cli("model", "rollback", "--lake", lake, "--reason", "x").err
