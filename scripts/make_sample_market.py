"""Make ``data_contracts/sample/us_closes_1990_2022.parquet`` again, from skfolio's data sets.

Needs skfolio 1.12.2, which the project itself does not: ``pip install skfolio==1.12.2``, then
``python scripts/make_sample_market.py``. Prints the file's size and SHA-256, which
``data_contracts/importers/sample.py`` and the README beside the file state.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data_contracts.importers.sample import (
    SAMPLE_FILE,
    SAMPLE_SHA256,
    sample_table,
    write_sample_file,
)
from data_contracts.importers.source import to_quanta


def closes_table(stocks: Any, index: Any) -> pa.Table:
    """Two frames of closes (dates down, symbols across) as the sample file's table.

    Raises
    ------
    ValueError
        If the dates differ, or a close is missing or not a multiple of 0.0001.
    """
    dates = np.asarray(stocks.index.values).astype("datetime64[D]")
    if not np.array_equal(dates, np.asarray(index.index.values).astype("datetime64[D]")):
        raise ValueError("the stocks' dates and the index's dates differ")
    closes = {}
    for frame in (stocks, index):
        for name in frame.columns:
            quanta, inexact = to_quanta(frame[name].to_numpy(), 4)
            if bool(inexact.any()) or bool((quanta <= 0).any()):
                raise ValueError(f"{name} has a close that is missing or no multiple of 0.0001")
            closes[str(name)] = pa.array(quanta.astype(np.int32))
    return sample_table(pa.array(dates), closes)


def main() -> None:
    """Write the file and print its size and hash."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=SAMPLE_FILE, help="where to write the file")
    out: Path = parser.parse_args().out
    data = importlib.import_module("skfolio.datasets")
    write_sample_file(out, closes_table(data.load_sp500_dataset(), data.load_sp500_index()))
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    print(f"{out}: {out.stat().st_size} bytes, SHA-256 {digest}")
    if digest != SAMPLE_SHA256:
        print(f"the file differs from the one on record, SHA-256 {SAMPLE_SHA256}")


if __name__ == "__main__":
    main()
