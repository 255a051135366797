"""From training to the swap and back: people approve, nights follow, old decisions stay."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import gearline
from serving.service.settings import ShiftedClock, utc_now
from tests.service.conftest import running

REVIEW = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=60)).isoformat()
NIGHTS = ("2020-03-18", "2020-03-19", "2020-06-22", "2020-06-23", "2020-06-24")


@pytest.mark.long
def test_a_model_is_trained_validated_promoted_challenged_swapped_and_brought_back(
    small_demo, tmp_path, cli, undocumented, monkeypatch
):
    # no browser, so no PDF: the pages are enough here
    monkeypatch.setattr("training.validation.render.shutil.which", lambda name: None)
    lake, store = tmp_path / "lake", tmp_path / "mlflow"
    left_out = shutil.ignore_patterns("runs", "ledger*", "keys", "online")
    shutil.copytree(small_demo.path, lake, ignore=left_out)

    def done(*words: object, code: tuple[int, ...] = (gearline.DONE,)) -> dict[str, Any]:
        ran = cli(*words, "--json")
        assert ran.code in code, ran.err
        found: dict[str, Any] = ran.document
        return found

    def night(day: str) -> dict[str, Any]:
        return done("reprice", lake, "--as-of", day)

    # train, log, validate
    other = done("train", lake, "--seed", "9", "--out", tmp_path / "other", "--mlflow", store)
    reports = {}
    for name, bundle in (("own", lake / "bundle"), ("other", tmp_path / "other")):
        reports[name] = tmp_path / f"report-{name}"
        made = done(
            "validate", "report", bundle, lake, "--out", reports[name], "--mlflow", store,
            "--key", tmp_path / "validator.key", code=(gearline.DONE, gearline.FOUND),
        )  # fmt: skip
        assert undocumented("validate report", made, given=("--mlflow",)) == []
    runs = done("model", "list", "--mlflow", store)["runs"]
    assert [len(r["reports"]) for r in runs] == [1, 1]
    own = json.loads((reports["own"] / "report.json").read_bytes())["subject"]["model_sha256"]

    # a night before anybody was promoted: the lake's own bundle decides
    before = night(NIGHTS[0])
    assert (before["bundle_sha256"], before["review_on"], before["beside"]) == (own, None, [])

    def promote(bundle: Path, report: Path, role: str, actor: str = "anna") -> dict[str, Any]:
        return done(
            "model", "promote", bundle, "--report", report, "--review-by", REVIEW, "--as", role,
            "--lake", lake, "--actor", actor,
        )  # fmt: skip

    def approve(proposal: dict[str, Any], on: str) -> None:
        """Two people other than the author, over HTTP, at noon of a day; the author is refused."""
        clock = ShiftedClock(dt.datetime.fromisoformat(f"{on}T16:00:00Z") - utc_now())
        path = f"/v1/proposals/{proposal['proposal_id']}/approvals"
        body = {"content_sha256": proposal["content_sha256"]}
        with running(lake, lake / "ledger.sqlite", now=clock) as service:
            own = service.call("POST", path, "approver", subject="anna", json=body)
            assert (own.status_code, own.json()["code"]) == (403, "four_eyes")
            for person, state in (("ben", "open"), ("cleo", "approved")):
                answer = service.call("POST", path, "approver", subject=person, json=body)
                assert (answer.status_code, answer.json()["state"]) == (201, state), answer.text

    # the report of another bundle promotes nothing
    wrong = cli(
        "model", "promote", lake / "bundle", "--report", reports["other"], "--review-by", REVIEW,
        "--lake", lake,
    )  # fmt: skip
    assert wrong.code == gearline.REFUSED
    assert "validate this bundle" in wrong.err

    asked = promote(lake / "bundle", reports["own"], "champion")
    assert undocumented("model promote", asked) == []
    assert promote(lake / "bundle", reports["own"], "champion")["repeated"] is True
    waiting = done("model", "status", "--lake", lake)
    assert [p["proposal_id"] for p in waiting["open"]] == [asked["proposal_id"]]
    assert waiting["purposes"][0]["champion"] is None
    approve(asked, NIGHTS[1])
    approve(promote(tmp_path / "other", reports["other"], "challenger"), NIGHTS[1])

    # the night decides by the champion, the challenger beside it
    for day in NIGHTS[1:3]:
        found = night(day)
        assert (found["bundle_sha256"], found["review_on"]) == (own, REVIEW)
        assert [(b["role"], b["bundle_sha256"]) for b in found["beside"]] == [
            ("challenger", other["bundle_sha256"])
        ]
    challenge = done(
        "model", "challenge-report", "--lake", lake, "--out", tmp_path / "challenge",
        code=(gearline.DONE, gearline.FOUND),
    )  # fmt: skip
    assert undocumented("model challenge-report", challenge) == []
    assert challenge["nights"] == 2
    assert challenge["matured_nights"] == [NIGHTS[1], NIGHTS[2]]
    assert challenge["matured"] > 500
    assert challenge["defaults"] > 0
    assert challenge["figures"]["discrimination.auc_challenger"] > 0.5
    assert challenge["verdict"] in ("propose", "keep", "not_enough")

    # the swap: the next night decides by the other model
    approve(promote(tmp_path / "other", reports["other"], "champion"), NIGHTS[3])
    status = done("model", "status", "--lake", lake)
    assert undocumented("model status", status) == []
    clients = status["purposes"][0]
    assert clients["champion"]["bundle_sha256"] == other["bundle_sha256"]
    assert clients["champion"]["approvals"] == ["ben", "cleo"]
    assert (clients["challengers"], [f["bundle_sha256"] for f in clients["former"]]) == ([], [own])
    assert night(NIGHTS[3])["bundle_sha256"] == other["bundle_sha256"]

    # and back
    back = done(
        "model", "rollback", "--lake", lake, "--reason", "caps of one tier", "--actor", "anna"
    )
    assert undocumented("model rollback", back) == []
    approve(back, NIGHTS[4])
    last = night(NIGHTS[4])
    assert last["bundle_sha256"] == own

    # whatever was decided under whichever model is decided again, bit for bit
    replayed = done("replay", "--lake", lake, "--sample", "400")
    assert (replayed["checked"], replayed["equal"]) == (400, 400)
    assert done("ledger", "verify", "--lake", lake)["ok"] is True
