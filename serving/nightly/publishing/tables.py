"""The published night as PostgreSQL tables, beside a ledger that is in PostgreSQL.

``gearline_online.decisions`` holds the rows of the last nights by run, ``gearline_online.current``
names the run in force in its one row, and the view ``gearline_online.published`` joins the two.
Rows are staged first; the pointer moves in one transaction, so a query sees one whole night.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from serving.ledger import Location, is_url, named
from serving.nightly.publishing.history import Run
from serving.nightly.segments import read_decisions

COLUMNS: Final = (
    "client_id", "decision_id", "as_of", "effective_on", "outcome", "tier", "debt_amt",
    "max_debt_amt", "max_leverage_milli", "binding", "rate_bps", "maintenance_e6",
)  # fmt: skip
PUBLISH_LOCK: Final = 0x6765_6172_7075_626C
"""The advisory lock of who publishes: "gearpubl" in ASCII."""
SCHEMA: Final = (
    "CREATE SCHEMA IF NOT EXISTS gearline_online",
    """CREATE TABLE IF NOT EXISTS gearline_online.decisions (
         run_id text NOT NULL, client_id text NOT NULL, decision_id text NOT NULL,
         as_of date NOT NULL, effective_on date NOT NULL, outcome text NOT NULL, tier text NOT NULL,
         debt_amt numeric(18,2) NOT NULL, max_debt_amt numeric(18,2) NOT NULL,
         max_leverage_milli bigint, binding text NOT NULL, rate_bps bigint NOT NULL,
         maintenance_e6 bigint, PRIMARY KEY (run_id, client_id))""",
    """CREATE TABLE IF NOT EXISTS gearline_online.staged (
         run_id text PRIMARY KEY, run_sha256 text NOT NULL, clients bigint NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS gearline_online.current (
         one boolean PRIMARY KEY DEFAULT true CHECK (one), run_id text NOT NULL
           REFERENCES gearline_online.staged, position bigint NOT NULL)""",
    """CREATE OR REPLACE VIEW gearline_online.published AS
         SELECT d.* FROM gearline_online.decisions d JOIN gearline_online.current c
         ON c.run_id = d.run_id""",
)


def _connect(where: Location) -> Any:
    import psycopg

    try:
        return psycopg.connect(str(where), autocommit=True, connect_timeout=5)
    except psycopg.Error as error:
        raise InputError(f"{named(where)}: {error}; try again once the server answers") from None


def _lock(connection: Any) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (PUBLISH_LOCK,))


def stage(root: Path, where: Location, run: Run) -> None:
    """Copy a run's rows in, in one transaction; a run that is there stays as it is."""
    if not is_url(where):
        return
    with _connect(where) as connection:
        with connection.transaction():
            _lock(connection)
            for statement in SCHEMA:
                connection.execute(statement)
        with connection.transaction():
            _lock(connection)
            known = connection.execute(
                "SELECT run_sha256 FROM gearline_online.staged WHERE run_id = %s", (run.run_id,)
            ).fetchone()
            if known is not None:
                if known[0] != run.sha256:
                    raise InputError(
                        f"the tables hold another run {run.run_id}: {known[0][:12]}, not"
                        f" {run.sha256[:12]}; verify the ledger"
                    )
                return
            columns = ", ".join(("run_id", *COLUMNS))
            clients = 0
            with connection.cursor().copy(
                f"COPY gearline_online.decisions ({columns}) FROM STDIN"
            ) as copy:
                for name in run.finished["segments"]:
                    table = read_decisions(root / name, list(COLUMNS))
                    for row in zip(*(table[c].to_pylist() for c in COLUMNS), strict=True):
                        copy.write_row((run.run_id, *row))
                    clients += table.num_rows
            connection.execute(
                "INSERT INTO gearline_online.staged VALUES (%s, %s, %s)",
                (run.run_id, run.sha256, clients),
            )


def switch(where: Location, run_id: str, position: int, keep: Sequence[str]) -> None:
    """Name the run in force, and let go of the rows of runs that are not kept.

    ``position`` is the ledger's entry that says so: an older one never replaces a newer.
    """
    if not is_url(where):
        return
    with _connect(where) as connection, connection.transaction():
        _lock(connection)
        connection.execute(
            """INSERT INTO gearline_online.current AS c (run_id, position) VALUES (%s, %s)
               ON CONFLICT (one) DO UPDATE SET run_id = excluded.run_id,
                 position = excluded.position WHERE c.position < excluded.position""",
            (run_id, position),
        )
        kept = sorted({run_id, *keep})
        for table in ("decisions", "staged"):
            connection.execute(
                f"DELETE FROM gearline_online.{table} t WHERE NOT t.run_id = ANY(%s)"
                " AND t.run_id <> (SELECT run_id FROM gearline_online.current)",
                (kept,),
            )


def in_force(where: Location) -> str | None:
    """The run that the tables show, None without tables or without a run."""
    if not is_url(where):
        return None
    with _connect(where) as connection:
        [(table,)] = connection.execute("SELECT to_regclass('gearline_online.current')").fetchall()
        if table is None:
            return None
        found = connection.execute("SELECT run_id FROM gearline_online.current").fetchone()
    return None if found is None else str(found[0])
