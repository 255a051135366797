"""The schema of a ledger, as numbered steps for each database.

A step is never edited once it was released: what changes is a new step. ``entry`` comes last in its
row so that leaf hashes and roots can be read without following the overflow pages of long entries.
``tree`` holds the peaks of the compact range, ``labels`` says under which names an entry is found:
both follow from the entries and are checked by ``verify``. ``review_*`` hold the present state of
the review queue, whose every change is an entry. ``requests`` holds the idempotency
records of callers for as long as they are promised; nothing else is ever deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from serving.ledger.database import Database
from serving.ledger.envelope import labels_of

CURRENT_VERSION: Final = 3
_BATCH: Final = 1000

_APPEND_ONLY: Final = "the ledger is append-only: "
_GAP: Final = "NEW.position <> (SELECT coalesce(max(position) + 1, 0) FROM entries)"
_KEY_KNOWN: Final = "EXISTS (SELECT 1 FROM idempotency WHERE key = NEW.key)"
_PROMISED_SQLITE: Final = "OLD.expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_PROMISED_POSTGRES: Final = (
    "OLD.expires_at > to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
)
_REFUSALS: Final = {
    "entries_refuse_update": f"{_APPEND_ONLY}an entry is never changed",
    "entries_refuse_delete": f"{_APPEND_ONLY}an entry is never deleted",
    "entries_refuse_gap": f"{_APPEND_ONLY}positions have no gap",
    "idempotency_refuse_update": f"{_APPEND_ONLY}a key keeps its entry",
    "idempotency_refuse_delete": f"{_APPEND_ONLY}a key is never deleted",
    "idempotency_refuse_replace": f"{_APPEND_ONLY}a key keeps its entry",
    "labels_refuse_update": f"{_APPEND_ONLY}a label keeps its entry",
    "labels_refuse_delete": f"{_APPEND_ONLY}a label is never deleted",
    "requests_refuse_update": f"{_APPEND_ONLY}a request keeps its entry",
    "requests_refuse_delete": f"{_APPEND_ONLY}a request is kept until it expires",
}


def _sqlite_trigger(name: str, when: str, condition: str = "") -> str:
    clause = f" WHEN {condition}" if condition else ""
    return (
        f"CREATE TRIGGER {name} BEFORE {when}{clause}"
        f" BEGIN SELECT RAISE(ABORT, '{_REFUSALS[name]}'); END;"
    )


_REVIEWS: Final = """
CREATE TABLE review_cases (
    case_id {text} NOT NULL PRIMARY KEY,
    state {text} NOT NULL,
    kind {text} NOT NULL,
    level {int} NOT NULL,
    audience {int} NOT NULL,
    main_rule {text} NOT NULL,
    priority {int} NOT NULL,
    opened_at {text} NOT NULL,
    due_at {text} NOT NULL,
    currency {text} NOT NULL,
    exposure_minor {int} NOT NULL,
    client_id {text} NOT NULL,
    related_group_id {text},
    decision_id {text} NOT NULL,
    holder {text},
    lease_until {text},
    snoozed_until {text},
    closed_at {text},
    document {blob} NOT NULL
){strict};
CREATE INDEX review_cases_due ON review_cases (
    state, due_at, priority, case_id, audience, level, kind, lease_until, snoozed_until,
    currency, exposure_minor, client_id, related_group_id
);
CREATE INDEX review_cases_kind ON review_cases (kind, state, due_at, priority, case_id);
CREATE INDEX review_cases_all ON review_cases (due_at, priority, case_id);
CREATE INDEX review_cases_rule ON review_cases (main_rule, state, due_at, priority, case_id);
CREATE INDEX review_cases_client ON review_cases (client_id, state);
CREATE INDEX review_cases_decision ON review_cases (decision_id);
CREATE INDEX review_cases_holder ON review_cases (holder, state) WHERE holder IS NOT NULL;
CREATE INDEX review_cases_closed ON review_cases (closed_at) WHERE closed_at IS NOT NULL;
CREATE TABLE review_acts (
    position {int} NOT NULL PRIMARY KEY,
    case_id {text} NOT NULL,
    decision_id {text} NOT NULL,
    act {text} NOT NULL,
    actor {text} NOT NULL,
    acted_at {text} NOT NULL,
    document {blob} NOT NULL
){strict};
CREATE INDEX review_acts_case ON review_acts (case_id, position);
CREATE INDEX review_acts_time ON review_acts (acted_at, position);
CREATE TABLE review_excluded (
    case_id {text} NOT NULL,
    reviewer {text} NOT NULL,
    PRIMARY KEY (case_id, reviewer)
){strict};
CREATE TABLE review_views (
    case_id {text} NOT NULL,
    reviewer {text} NOT NULL,
    PRIMARY KEY (case_id, reviewer)
){strict};
CREATE TABLE reviewers (
    reviewer {text} NOT NULL PRIMARY KEY,
    document {blob} NOT NULL
){strict};
"""
_REVIEWS_SQLITE: Final = _REVIEWS.format(text="TEXT", int="INTEGER", blob="BLOB", strict=" STRICT")
_REVIEWS_POSTGRES: Final = _REVIEWS.format(
    text='text COLLATE "C"', int="bigint", blob="bytea", strict=""
)

SQLITE: Final = {
    1: f"""
CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    leaf_hash BLOB NOT NULL,
    root BLOB NOT NULL,
    entry BLOB NOT NULL
) STRICT;
CREATE TABLE idempotency (
    key TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    request_sha256 BLOB NOT NULL
) STRICT;
CREATE TABLE tree (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 0),
    size INTEGER NOT NULL,
    peaks BLOB NOT NULL
) STRICT;
{_sqlite_trigger("entries_refuse_update", "UPDATE ON entries")}
{_sqlite_trigger("entries_refuse_delete", "DELETE ON entries")}
{_sqlite_trigger("entries_refuse_gap", "INSERT ON entries", _GAP)}
{_sqlite_trigger("idempotency_refuse_update", "UPDATE ON idempotency")}
{_sqlite_trigger("idempotency_refuse_delete", "DELETE ON idempotency")}
{_sqlite_trigger("idempotency_refuse_replace", "INSERT ON idempotency", _KEY_KNOWN)}
INSERT INTO tree (only_row, size, peaks) VALUES (0, 0, x'');
""",
    2: f"""
CREATE TABLE labels (
    label TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (label, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE requests (
    key TEXT NOT NULL PRIMARY KEY,
    request_sha256 BLOB NOT NULL,
    position INTEGER NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
{_sqlite_trigger("labels_refuse_update", "UPDATE ON labels")}
{_sqlite_trigger("labels_refuse_delete", "DELETE ON labels")}
{_sqlite_trigger("requests_refuse_update", "UPDATE ON requests")}
{_sqlite_trigger("requests_refuse_delete", "DELETE ON requests", _PROMISED_SQLITE)}
""",
    3: _REVIEWS_SQLITE,
}


def _postgres_trigger(name: str, when: str, condition: str = "") -> str:
    table = when.rsplit(" ", 1)[1]
    body = f"RAISE EXCEPTION '{_REFUSALS[name]}';"
    if condition:
        body = f"IF {condition} THEN {body} END IF;"
    deletes = when.startswith("DELETE")
    emptied = (
        f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();"
    )
    return f"""
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN {body} RETURN {"OLD" if deletes else "NEW"}; END $$;
CREATE TRIGGER {name} BEFORE {when} FOR EACH ROW EXECUTE FUNCTION {name}();
{emptied if deletes else ""}
"""


POSTGRES: Final = {
    1: f"""
CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}it is never emptied'; END $$;
CREATE TABLE entries (
    position bigint PRIMARY KEY,
    leaf_hash bytea NOT NULL,
    root bytea NOT NULL,
    entry bytea NOT NULL
);
CREATE TABLE idempotency (
    key text NOT NULL PRIMARY KEY,
    position bigint NOT NULL,
    request_sha256 bytea NOT NULL
);
CREATE TABLE tree (
    only_row int PRIMARY KEY CHECK (only_row = 0),
    size bigint NOT NULL,
    peaks bytea NOT NULL
);
{_postgres_trigger("entries_refuse_update", "UPDATE ON entries")}
{_postgres_trigger("entries_refuse_delete", "DELETE ON entries")}
{_postgres_trigger("entries_refuse_gap", "INSERT ON entries", _GAP)}
{_postgres_trigger("idempotency_refuse_update", "UPDATE ON idempotency")}
{_postgres_trigger("idempotency_refuse_delete", "DELETE ON idempotency")}
INSERT INTO tree (only_row, size, peaks) VALUES (0, 0, ''::bytea);
""",
    2: f"""
CREATE TABLE labels (
    label text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (label, position)
);
CREATE TABLE requests (
    key text NOT NULL PRIMARY KEY,
    request_sha256 bytea NOT NULL,
    position bigint NOT NULL,
    expires_at text NOT NULL
);
{_postgres_trigger("labels_refuse_update", "UPDATE ON labels")}
{_postgres_trigger("labels_refuse_delete", "DELETE ON labels")}
{_postgres_trigger("requests_refuse_update", "UPDATE ON requests")}
{_postgres_trigger("requests_refuse_delete", "DELETE ON requests", _PROMISED_POSTGRES)}
""",
    3: _REVIEWS_POSTGRES,
}

POSTGRES_ROLES: Final = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gearline_reader') THEN
        CREATE ROLE gearline_reader NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gearline_writer') THEN
        CREATE ROLE gearline_writer NOLOGIN;
    END IF;
END $$;
GRANT USAGE ON SCHEMA gearline TO gearline_reader, gearline_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA gearline TO gearline_reader, gearline_writer;
GRANT INSERT ON entries, idempotency, labels, requests TO gearline_writer;
GRANT UPDATE (size, peaks) ON tree TO gearline_writer;
GRANT DELETE ON requests TO gearline_writer;
GRANT INSERT ON review_acts, review_cases, review_excluded, review_views, reviewers
    TO gearline_writer;
GRANT UPDATE ON review_cases, reviewers TO gearline_writer;
"""
"""What a login needs is membership: in ``gearline_writer`` to serve, in ``gearline_reader`` to
verify and export. Neither may change or delete an entry, whatever the triggers say."""


def backfill_labels(database: Database) -> None:
    """Step 2's data: the labels of the entries that are there. Run inside its transaction."""
    for batch in _batches(database):
        rows = [
            (label, position)
            for position, entry in batch
            for label in labels_of(*_kind_and_body(entry))
        ]
        database.executemany("INSERT INTO labels (label, position) VALUES (?, ?)", rows)


def _kind_and_body(entry: bytes) -> tuple[str, dict[str, object]]:
    document = orjson.loads(entry)
    return document["kind"], document["body"]


def _batches(database: Database) -> Iterator[list[tuple[int, bytes]]]:
    position = -1
    while True:
        rows = database.execute(
            "SELECT position, entry FROM entries WHERE position > ? ORDER BY position LIMIT ?",
            (position, _BATCH),
        ).fetchall()
        if not rows:
            return
        yield rows
        position = rows[-1][0]
