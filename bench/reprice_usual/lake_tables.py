"""A lake's tables as pandas, and its closes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WINDOWS = (20, 60, 250)
PATH = 250


def visible(lake: Path, name: str, cut: Any, columns: list[str]) -> Any:
    """A table's visible rows as pandas, decimals as floats, texts as categories."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

    table = ds.dataset(lake / name).to_table(columns=[*columns, "event_at", "known_at"])
    for k, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(k, field.name, table[field.name].cast("float64"))
        elif pa.types.is_string(field.type):
            table = table.set_column(k, field.name, table[field.name].dictionary_encode())
    frame = table.to_pandas()
    seen = frame[["event_at", "known_at"]].max(axis=1) <= pd.Timestamp(cut, tz="UTC")
    return frame[seen].sort_values("known_at", kind="stable")


def market(lake: Path, session: str, cut: Any) -> tuple[Any, Any, int]:
    """Closes as a table of sessions by symbol, its returns, and the session's place."""
    days = visible(lake, "sessions", np.datetime64("2200-01-01"), ["session"])["session"]
    days = np.sort(days.to_numpy().astype("datetime64[D]"))
    bars = visible(lake, "bars", cut, ["symbol", "session", "close"])
    close = bars.pivot_table(index="session", columns="symbol", values="close", observed=True)
    close.index = close.index.astype("datetime64[s]")
    return close, close.pct_change(), int(np.searchsorted(days, np.datetime64(session)))
