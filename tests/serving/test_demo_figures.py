"""The demo's figures, recomputed from the files it leaves by SQL that shares no code with it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

KEYS = (
    "decisions", "decisions_sha256", "seconds_by_stage", "auc_default_60_out_of_time", "somers_d",
    "somers_d_low", "tiers", "binding_constraints", "referred", "out",
)  # fmt: skip
TIER_KEYS = ("tier", "clients", "predicted_pd", "realised_rate", "mean_cap", "mean_rate_bps")
BEST_FIRST = ["1", "2", "3", "4", "5", "6", "7", "D"]

OUTCOMES = """
    CREATE VIEW days AS
      SELECT row_number() OVER (ORDER BY session) - 1 AS t, session, close_at
      FROM read_parquet('{root}/sessions/*.parquet');
    CREATE VIEW defaults AS
      SELECT client_id,
        (SELECT max(t) FROM days WHERE close_at <= event_at) AS t
      FROM read_parquet('{root}/margin_events/*/*.parquet') WHERE kind = 'default';
    CREATE VIEW closings AS
      SELECT client_id, max((SELECT count(*) FROM days WHERE session < closed_on)) AS t
      FROM (SELECT client_id, account_id, arg_max(closed_on, known_at) AS closed_on
        FROM read_parquet('{root}/accounts/*/*.parquet') GROUP BY ALL)
      GROUP BY client_id HAVING bool_and(closed_on IS NOT NULL);
    CREATE VIEW decided AS
      SELECT d.*, days.t, contains(decode(i.case), '"margin_state":"defaulted"') AS in_default,
        (SELECT count(*) FROM days) AS sessions, coalesce(c.t, 1000000) AS closed_t
      FROM d JOIN i USING (folder, client_id) JOIN days ON days.session = d.as_of
      LEFT JOIN closings c USING (client_id);
    CREATE MACRO labelled(horizon) AS TABLE
      SELECT *, hit::INT AS label FROM (
        SELECT *, EXISTS (SELECT 1 FROM defaults e WHERE e.client_id = decided.client_id
          AND e.t > decided.t AND e.t <= decided.t + horizon) AS hit FROM decided)
      WHERE NOT in_default AND t + horizon < sessions AND (hit OR closed_t > t + horizon);
"""
"""Labels anew: a default within the horizon; left out are those in default, closed or too late."""


@pytest.fixture(scope="module")
def db(small_demo):
    """All decisions ``d`` and inputs ``i`` of the demo, with their folder."""
    connection = duckdb.connect()
    for name, file in (("d", "decisions"), ("i", "inputs")):
        connection.execute(
            f"CREATE TABLE {name} AS SELECT *, parse_dirpath(filename) AS folder FROM read_parquet("
            f"'{small_demo.path}/runs/*/bucket=*/{file}.parquet',"
            " filename = true, hive_partitioning = false)"
        )
    connection.execute(OUTCOMES.format(root=small_demo.path))
    return connection


def one(connection, sql, *arguments):
    """The only row of a query."""
    [row] = connection.execute(sql, arguments).fetchall()
    return row


def by_tier(connection, sql):
    return {row[0]: row[1:] for row in connection.execute(sql).fetchall()}


# --- what is printed ------------------------------------------------------------------------------


def test_the_document_has_every_key_it_promises(small_demo):
    assert [k for k in KEYS if k not in small_demo.summary] == []
    for tier in small_demo.summary["tiers"]:
        assert [k for k in TIER_KEYS if k not in tier] == []
    assert all(s >= 0 for s in small_demo.summary["seconds_by_stage"].values())
    assert small_demo.summary["seconds_by_stage"]["decide"] > 0


def test_the_summary_on_disk_is_the_one_that_was_printed(small_demo):
    stored = json.loads((small_demo.path / "summary.json").read_bytes())
    assert {**stored, "seconds_by_stage": small_demo.summary["seconds_by_stage"]} == (
        small_demo.summary
    )


def test_tiers_are_listed_best_first(small_demo):
    assert [t["tier"] for t in small_demo.summary["tiers"]] == BEST_FIRST


def test_the_headline_is_the_first_line_on_stderr_and_names_pack_and_sample(
    cli, small_demo, tmp_path, monkeypatch
):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.demo.prepare_demo", stop)
    ran = cli("demo", "--clients", small_demo.summary["clients"], "--out", tmp_path, "--json")
    assert (ran.code, ran.out) == (130, "")
    first = ran.err.splitlines()[0]
    assert first == small_demo.summary["headline"]
    assert "Regulation T" in first
    assert "bundled US sample, 2006-2022" in first
    assert "1,000 simulated clients" in first


# --- the shape of the figures ---------------------------------------------------------------------


def test_caps_fall_and_risk_charges_rise_from_the_best_tier_to_the_worst(small_demo):
    graded = [t for t in small_demo.summary["tiers"] if t["tier"] != "D"]
    assert len(graded) == 7
    for better, worse in pairwise(graded):
        assert better["mean_cap"] > worse["mean_cap"], worse["tier"]
        charge = "mean_expected_loss_capital_bps"
        assert better[charge] <= worse[charge], worse["tier"]
    assert graded[0][charge] < graded[-1][charge]


def test_tiers_order_defaults_beyond_chance(small_demo):
    s = small_demo.summary
    assert 0 < s["somers_d_low"] <= s["somers_d"] <= s["somers_d_high"] <= 1


# --- recomputed from the files --------------------------------------------------------------------


def test_as_many_decisions_are_stored_as_are_reported(small_demo, db):
    s = small_demo.summary
    rows, ids, nights, clients = one(
        db,
        "SELECT count(*), count(DISTINCT decision_id), count(DISTINCT as_of),"
        " count(DISTINCT (as_of, client_id)) FROM d",
    )
    assert rows == ids == clients == s["decisions"] > 0
    assert nights == s["nights"]


def test_the_reported_hash_is_over_the_stored_decision_hashes(small_demo, db):
    """SHA-256 over the nights' SHA-256, each over the hashes in bucket and row order."""
    total = hashlib.sha256()
    folders = db.execute("SELECT DISTINCT as_of, folder FROM d ORDER BY 1, 2").fetchall()
    for day in sorted({d for d, _ in folders}):
        night = hashlib.sha256()
        for folder in (f for d, f in folders if d == day):
            file = str(Path(folder) / "decisions.parquet")
            rows = db.execute("SELECT decision_sha256 FROM read_parquet(?)", [file]).fetchall()
            night.update(b"".join(row[0] for row in rows))
        total.update(night.digest())
    assert total.hexdigest() == small_demo.summary["decisions_sha256"]


def test_every_expected_loss_is_pd_times_lgd_times_exposure_rounded_up(small_demo, db):
    rows, right, positive = one(
        db,
        """
        SELECT count(*), count_if(stored = (product + 999999999999999) // 1000000000000000),
          count_if(stored > 0)
        FROM (SELECT (expected_loss_amt * 100)::HUGEINT AS stored,
          pd_e9::HUGEINT * lgd_e6::HUGEINT * (ead_amt * 100)::HUGEINT AS product FROM d)""",
    )
    assert rows == right == small_demo.summary["decisions"]
    assert positive > rows // 2


def test_every_cap_is_the_first_limit_less_all_that_was_removed(small_demo, db):
    rows, right, cut = one(
        db,
        """
        SELECT count(*), count_if(cap_limits_minor[1] - list_sum(cap_removed_minor)
            = (max_debt_amt * 100)::HUGEINT AND list_min(cap_removed_minor) >= 0),
          count_if(list_sum(cap_removed_minor) > 0)
        FROM d""",
    )
    assert rows == right == small_demo.summary["decisions"]
    assert cut > 0


def test_every_rate_is_the_sum_of_its_components(small_demo, db):
    rows, right = one(
        db, "SELECT count(*), count_if(list_sum(rate_components_bps) = rate_bps) FROM d"
    )
    assert rows == right == small_demo.summary["decisions"]


def test_clients_decisions_caps_and_rates_by_tier_are_as_reported(small_demo, db):
    found = by_tier(
        db,
        """
        SELECT tier::VARCHAR, count(DISTINCT client_id), count(*), avg(max_leverage_milli) / 1000,
          avg(max_debt_amt::DOUBLE), avg(rate_bps),
          avg(rate_components_bps[3] + rate_components_bps[4])
        FROM d GROUP BY ALL""",
    )
    names = (
        "clients", "decisions", "mean_cap", "mean_cap_amt", "mean_rate_bps",
        "mean_expected_loss_capital_bps",
    )  # fmt: skip
    assert sorted(found) == sorted(BEST_FIRST)
    for tier in small_demo.summary["tiers"]:
        assert [tier[n] for n in names] == pytest.approx(list(found[tier["tier"]]), rel=1e-9)


def test_realised_rates_and_predicted_pds_by_tier_are_as_reported(small_demo, db):
    s = small_demo.summary
    assert s["split"] == "out-of-time", "else some clients may not be judged on"
    found = by_tier(
        db,
        "SELECT tier::VARCHAR, count(*), sum(label), avg(pd_e9) / 1e9, avg(label)"
        f" FROM labelled({s['horizon_sessions']}) WHERE tier <> 'D' GROUP BY ALL",
    )
    names = ("labelled", "defaults", "predicted_pd", "realised_rate")
    for tier in s["tiers"]:
        if tier["tier"] != "D":
            assert [tier[n] for n in names] == pytest.approx(list(found[tier["tier"]]), rel=1e-9)
    assert sum(f[1] for f in found.values()) > 50


def test_somers_d_and_the_auc_are_as_reported(small_demo, db):
    s = small_demo.summary
    [concordance] = one(
        db,
        f"""
        WITH g AS (SELECT tier::VARCHAR::INT AS g, sum(label) AS bad, count(*) - sum(label) AS good
          FROM labelled({s["horizon_sessions"]}) WHERE tier <> 'D' GROUP BY ALL)
        SELECT sum(b.bad * a.good * sign(b.g - a.g)) / (sum(b.bad * a.good)) FROM g a, g b""",
    )
    assert s["somers_d"] == pytest.approx(concordance, rel=1e-9)
    [auc] = one(
        db,
        """
        WITH r AS (SELECT label, rank() OVER (ORDER BY score)
            + (count(*) OVER (PARTITION BY score) - 1) / 2 AS place FROM labelled(60))
        SELECT (sum(place) FILTER (label = 1) - sum(label) * (sum(label) + 1) / 2)
          / (sum(label) * sum(1 - label)) FROM r""",
    )
    assert s["auc_default_60_out_of_time"] == pytest.approx(auc, rel=1e-9)


def test_binding_terms_and_outcomes_are_as_reported(small_demo, db):
    for column, reported in (("binding", "binding_constraints"), ("outcome", "outcomes")):
        counted = by_tier(db, f"SELECT {column}::VARCHAR, count(*) FROM d GROUP BY ALL")
        shown = {k: (v,) for k, v in small_demo.summary[reported].items() if v}
        assert shown == counted
    assert small_demo.summary["referred"] == small_demo.summary["outcomes"]["refer"]


# --- the page, and what to try next ---------------------------------------------------------------


LOADS = {"src", "srcset", "data", "poster", "href", "xlink:href", "action"}


class Loaded(HTMLParser):
    """Collects every address that a page loads; a link that waits for a click loads nothing."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        names = LOADS - {"href"} if tag == "a" else LOADS
        self.addresses += [value for name, value in attrs if name in names and value]


def test_the_page_speaks_two_languages_and_loads_nothing_from_elsewhere(small_demo):
    page = (small_demo.path / "summary.html").read_text(encoding="utf-8")
    assert "中文" in page
    assert "English" in page
    parser = Loaded()
    parser.feed(page)
    addresses = parser.addresses + re.findall(r"url\(\s*['\"]?([^'\")]+)", page)
    for address in addresses:
        assert not re.match(r"\s*([a-z][a-z0-9+.-]*:)?//", address, re.IGNORECASE), address
        if not address.startswith(("#", "data:")):
            assert (small_demo.path / address).exists(), address
    assert "@import" not in page
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts)\s*\(", page)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def next_commands(small_demo):
    lines = [c["command"] for c in small_demo.summary["next_commands"]]
    assert len(lines) >= 4
    return [shlex.split(line) for line in lines]


def test_every_file_that_a_next_command_names_is_there_or_can_be_made(small_demo, elsewhere):
    for words in next_commands(small_demo):
        made = {words[k + 1] for k, w in enumerate(words) if w == "--out"}
        for word in words:
            if word in made:
                assert not Path(word).exists()
                assert os.access(Path(word).absolute().parent, os.W_OK)
            elif "/" in word or "." in word:
                assert Path(word).exists(), word


def test_every_next_command_runs(cli, small_demo, elsewhere, db):
    for words in next_commands(small_demo):
        assert words[0] == "gearline"
        ran = cli(*words[1:])
        assert ran.code == 0, (words, ran.err)
        assert ran.out.strip(), words
    [built] = [w for w in next_commands(small_demo) if w[1] == "features"]
    session = built[built.index("--as-of") + 1]
    rows, clients = one(
        db, "SELECT count(*), count(DISTINCT client_id) FROM read_parquet('features.parquet')"
    )
    [decided] = one(db, "SELECT count(*) FROM d WHERE as_of = ?::DATE", session)
    assert rows == clients == decided > 0
