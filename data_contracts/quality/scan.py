"""The files of a lake as DuckDB relations, every row with its file and position.

``raw_TABLE`` has all rows of a table with ``_file`` and ``_row``; ``good_TABLE`` has, for some of
the buckets, what readers see: no row that breaks a row rule, of each key the newest version.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.lake import LakeInfo, lake_info, read_file, table_files
from data_contracts.quality.rules import Rule, row_rule_name, rules_of
from data_contracts.row_rules import unproved_rules
from data_contracts.tables import TABLES, Table
from data_contracts.zones import MARKET_ZONES

MEMORY_LIMIT: Final = "2GB"
"""What DuckDB may hold; above it, it spills to a temporary folder."""
BATCH_ROWS: Final = 4_000_000
"""Rows of clients' tables that the rules between tables look at together."""

_SAME_AS: Final = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}


@dataclass(frozen=True)
class LakeFile:
    """One Parquet file of a table; ``plain`` if its columns have the declared types."""

    path: Path
    place: str
    rows: int
    plain: bool
    bucket: str


class Scan:
    """A DuckDB connection over the tables of a lake, and the findings of the rules."""

    def __init__(self, root: Path, threads: int | None = None) -> None:
        self.root = root
        self.info: LakeInfo = lake_info(root)
        self.tables = [name for name in TABLES if (root / name).is_dir()]
        self.files: dict[str, list[LakeFile]] = {}
        self.unproved: dict[str, set[str]] = {}
        self.spill = tempfile.TemporaryDirectory(prefix="gearline-check-")
        options: dict[str, Any] = {
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": self.spill.name,
            "preserve_insertion_order": False,
        }
        if threads is not None:
            options["threads"] = threads
        self.db = duckdb.connect(config=options)
        self.db.execute("SET TimeZone = 'UTC'")
        self.db.execute(
            "CREATE TEMP TABLE findings"
            " (tbl VARCHAR, rule VARCHAR, file INTEGER, pos BIGINT, value VARCHAR)"
        )
        for name in self.tables:
            self._open(name)

    def close(self) -> None:
        """Forget everything."""
        self.db.close()
        self.spill.cleanup()

    def rows(self, name: str) -> int:
        """Rows of a table."""
        return sum(file.rows for file in self.files[name])

    def has(self, *names: str) -> bool:
        """Whether the lake has rows or at least a file of all these tables."""
        return all(self.files.get(name) for name in names)

    def rules(self, name: str) -> list[Rule]:
        """The rules of a table that can be checked in this lake."""
        return [rule for rule in rules_of(name) if self.has(name, *rule.needs)]

    def one(self, sql: str) -> Any:
        """The first value of the first row."""
        row = self.db.execute(sql).fetchone()
        return None if row is None else row[0]

    def day(self, instant: str) -> str:
        """The market's calendar day of an instant, as SQL."""
        zone = MARKET_ZONES.get(self.info.mic, "UTC")
        return f"CAST({instant} AT TIME ZONE '{zone}' AS DATE)"

    def found(self, name: str) -> Counter[str]:
        """Findings of a table, counted by rule."""
        rows = self.db.execute(
            f"SELECT rule, count(*) FROM findings WHERE tbl = '{name}' GROUP BY rule"
        ).fetchall()
        return Counter(dict(rows))

    def _open(self, name: str) -> None:
        spec = TABLES[name]
        files, unproved = [], set()
        names = [c.name for c in spec.columns]
        for path in table_files(self.root, name):
            try:
                with pq.ParquetFile(path) as file:
                    metadata, schema = file.metadata, file.schema_arrow
            except (pa.ArrowInvalid, OSError):
                read_file(path, spec, names, checked=False)  # says what is wrong with it
                raise
            plain = all(
                column in schema.names
                and _SAME_AS.get(schema.field(column).type, schema.field(column).type)
                == spec.column(column).arrow_type
                for column in names
            )
            place = path.relative_to(self.root).as_posix()
            files.append(LakeFile(path, place, metadata.num_rows, plain, path.parent.name))
            if metadata.num_rows:
                unproved |= {
                    row_rule_name(spec, rule) for rule in unproved_rules(spec, metadata, schema)
                }
        self.files[name], self.unproved[name] = files, unproved
        if files:
            sql = self.relation(spec, range(len(files)))
            self.db.execute(f"CREATE TEMP VIEW raw_{name} AS {sql}")

    def relation(self, spec: Table, chosen: Iterable[int]) -> str:
        """SQL over some files of a table: its columns, ``_file`` and ``_row``."""
        columns = [c.name for c in spec.columns]
        names = ", ".join(columns)
        runs: list[list[int]] = []  # of plain files that follow each other
        parts = []
        for k in chosen:
            file = self.files[spec.name][k]
            if not file.plain:
                table = read_file(file.path, spec, columns, checked=False)[0]
                table = table.append_column("_row", pa.array(np.arange(table.num_rows)))
                self.db.register(f"other_{spec.name}_{k}", table)
                other = f"SELECT {names}, CAST({k} AS INTEGER) AS _file, _row"
                parts.append(f"{other} FROM other_{spec.name}_{k}")
            elif runs and runs[-1][-1] == k - 1:
                runs[-1].append(k)
            else:
                runs.append([k])
        for run in runs:
            texts = [str(self.files[spec.name][k].path).replace("'", "''") for k in run]
            paths = ", ".join(f"'{text}'" for text in texts)
            parts.append(
                f"SELECT {names}, CAST(file_index + {run[0]} AS INTEGER) AS _file,"
                f" file_row_number AS _row FROM read_parquet([{paths}], hive_partitioning = false)"
            )
        return " UNION ALL ".join(parts)

    def batches(self, names: Sequence[str]) -> list[list[str]]:
        """The buckets of some tables in groups of at most ``BATCH_ROWS`` rows."""
        rows: Counter[str] = Counter()
        for name in names:
            for file in self.files.get(name, []):
                rows[file.bucket] += file.rows
        out: list[list[str]] = []
        held = 0
        for bucket in sorted(rows):
            if not out or held + rows[bucket] > BATCH_ROWS:
                out.append([])
                held = 0
            out[-1].append(bucket)
            held += rows[bucket]
        return out

    def good(self, name: str, buckets: Sequence[str] | None = None, versions: bool = True) -> None:
        """Make the view ``good_TABLE``; with ``versions`` only the newest of each key."""
        spec = TABLES[name]
        files = self.files[name]
        chosen = [k for k, f in enumerate(files) if buckets is None or f.bucket in buckets]
        sql = f"SELECT * FROM raw_{name} LIMIT 0"
        if chosen:
            sql = self.relation(spec, chosen)
        row_rules = ", ".join(f"'{rule.name}'" for rule in rules_of(name) if rule.kind == "row")
        bad = f"SELECT file, pos FROM findings WHERE tbl = '{name}' AND rule IN ({row_rules})"
        if self.one(f"SELECT count(*) FROM ({bad})"):
            same = "r._file = b.file AND r._row = b.pos"
            sql = f"SELECT * FROM ({sql}) r ANTI JOIN ({bad}) b ON {same}"
        if versions and self.one(f"SELECT count(*) FROM old_{name}"):
            sql = (
                f"SELECT * FROM ({sql}) r ANTI JOIN old_{name} o"
                " ON r._file = o._file AND r._row = o._row"
            )
        self.db.execute(f"CREATE OR REPLACE TEMP VIEW good_{name} AS {sql}")
