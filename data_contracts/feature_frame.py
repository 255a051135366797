"""The feature frame: quantised feature values of many clients at one as-of session."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import write_parquet
from data_contracts.units import NULL, IntArray


@dataclass(frozen=True)
class FeatureFrame:
    """One row a client, one column a feature, int64 quanta of each feature's declared unit.

    Attributes
    ----------
    feature_set : name and version, for example ``behavioural/1``
    feature_set_sha256 : hash over the declarations of the set
    names : features in set order, length K
    client_ids : length N
    as_of : the session whose 18:00 cut-off limits what was visible
    values : int64, shape (N, K), ``NULL`` where the feature is undefined
    """

    feature_set: str
    feature_set_sha256: str
    names: tuple[str, ...]
    client_ids: tuple[str, ...]
    as_of: dt.date
    values: IntArray

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.client_ids), len(self.names)):
            raise InputError(
                f"a feature frame of {len(self.client_ids)} clients and {len(self.names)} features"
                f" has values of shape {self.values.shape}"
            )

    def column(self, name: str) -> IntArray:
        """One feature of all clients."""
        return self.values[:, self.names.index(name)]

    def take(self, rows: Sequence[int] | IntArray) -> FeatureFrame:
        """The frame of some of its clients, in the order given."""
        chosen = np.asarray(rows, dtype=np.int64)
        return FeatureFrame(
            self.feature_set,
            self.feature_set_sha256,
            self.names,
            tuple(self.client_ids[i] for i in chosen),
            self.as_of,
            self.values[chosen],
        )

    def to_arrow(self) -> pa.Table:
        """Columns ``client_id, as_of`` and one nullable int64 column a feature."""
        arrays = [
            pa.array(self.client_ids, type=pa.string()),
            pa.array([self.as_of] * len(self.client_ids), type=pa.date32()),
        ]
        for k in range(len(self.names)):
            column = self.values[:, k]
            null = column == NULL
            arrays.append(pa.array(np.where(null, 0, column), mask=null))
        schema_names = ["client_id", "as_of", *self.names]
        made = pa.Table.from_arrays(arrays, names=schema_names)
        return made.replace_schema_metadata(
            {
                "feature_set": self.feature_set,
                "feature_set_sha256": self.feature_set_sha256,
                "as_of": self.as_of.isoformat(),
            }
        )

    def write(self, path: Path) -> None:
        """Write the frame as Parquet."""
        write_parquet(path, self.to_arrow())

    @staticmethod
    def read(path: Path) -> FeatureFrame:
        """Read a frame written by ``write``."""
        if not path.is_file():
            raise InputError(f"no feature frame at {path}; make it with `gearline features build`")
        try:
            table = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} is damaged: {error}; build the features again") from None
        meta = table.schema.metadata or {}
        if b"feature_set" not in meta or b"as_of" not in meta:
            raise InputError(f"{path} is not a feature frame: its metadata names no feature set")
        names = tuple(table.schema.names[2:])
        values = np.empty((table.num_rows, len(names)), dtype=np.int64)
        for k, name in enumerate(names):
            values[:, k] = np.asarray(table[name].fill_null(NULL))
        return FeatureFrame(
            meta[b"feature_set"].decode(),
            meta[b"feature_set_sha256"].decode(),
            names,
            tuple(table["client_id"].to_pylist()),
            dt.date.fromisoformat(meta[b"as_of"].decode()),
            values,
        )
