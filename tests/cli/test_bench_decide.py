"""``bench decide``: its document; a breach, a missed fault, a broken sum are exit code 1."""

from __future__ import annotations

import gearline
from training.bench import decide
from training.bench.decide.law import Found

SMALL = ("bench", "decide", "--cases", 600, "--clients", 200, "--threads", 1)


def test_the_law_is_kept_and_every_planted_fault_is_seen(cli, undocumented):
    ran = cli(*SMALL, "--json")
    assert ran.code == gearline.DONE
    document = ran.document
    assert undocumented("bench decide", document) == []
    assert (document["law_cases"], document["law_breaches"]) == (600, 0)
    assert document["planted_faults"] >= 10
    assert document["planted_faults_caught"] == document["planted_faults"]
    assert document["row_equals_column"] is True
    assert document["waterfalls_broken"] == 0


def test_what_is_wrong_is_exit_code_1_and_is_named(cli, monkeypatch):
    bad = Found(cases=1, first="cn 2026-01-19 seed 1 C0: available margin")
    bad.breaches["available margin"] = 1
    monkeypatch.setattr(decide, "check_law", lambda *_: bad)
    monkeypatch.setattr(decide, "find_faults", lambda *_: {"a day late": None})
    ran = cli(*SMALL)
    assert ran.code == gearline.FOUND
    assert "not caught: a day late" in ran.out
    assert "first breach: cn 2026-01-19 seed 1 C0: available margin" in ran.out


def test_no_cases_and_no_clients_are_refused(cli):
    ran = cli("bench", "decide", "--cases", 0)
    assert ran.code == gearline.REFUSED
    assert "both must be at least 1" in ran.err
