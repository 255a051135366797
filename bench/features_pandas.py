"""The trade features of a lake as a competent pandas user writes them; a rival of the benchmark.

    python bench/features_pandas.py LAKE SESSION [--polars] [--out F]

Vectorised throughout: no Python runs per client. Later versions of a trade replace earlier ones,
and nothing counts that was not known at the session's 18:00 (10:00 UTC). Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS = [
    "trade_id", "account_id", "client_id", "symbol", "side", "quantity_shares", "price",
    "financed", "event_at", "known_at",
]  # fmt: skip
WINDOWS = (20, 60, 250)
DECAY = 0.94


def _sessions(lake: Path) -> Any:
    import pandas as pd

    days = pd.read_parquet(lake / "sessions", columns=["session"])["session"]
    return pd.to_datetime(days).sort_values().to_numpy().astype("datetime64[us]")


def with_pandas(lake: Path, session: str) -> Any:
    """One row a client: sums over three windows, a decaying mean, the last session."""
    import pandas as pd
    import pyarrow.dataset as ds

    cuts = _sessions(lake) + np.timedelta64(10, "h")
    t = int(np.searchsorted(cuts, np.datetime64(session)))
    table = ds.dataset(lake / "trades").to_table(columns=COLUMNS)
    price = table.column_names.index("price")
    table = table.set_column(price, "price", table["price"].cast("float64"))
    for name in ("account_id", "client_id", "symbol", "side"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].dictionary_encode())
    trades = table.to_pandas()
    cut = pd.Timestamp(cuts[t], tz="UTC")
    trades = trades[(trades["event_at"] <= cut) & (trades["known_at"] <= cut)]
    trades = trades.sort_values("known_at", kind="stable")
    trades = trades.drop_duplicates("trade_id", keep="last")
    buy = (trades["side"] == "buy").to_numpy()
    price = (trades["price"] * 10_000).round().astype("int64").to_numpy()
    value = trades["quantity_shares"].to_numpy() * price
    trades["session"] = np.searchsorted(
        cuts, trades["event_at"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    )
    trades["bought"] = np.where(buy, value, 0)
    trades["sold"] = np.where(buy, 0, value)
    trades["financed_buy"] = np.where(buy & trades["financed"].to_numpy(), value, 0)
    trades["trades"] = 1
    sums = {"trades": "sum", "bought": "sum", "sold": "sum", "financed_buy": "sum"}
    keys = ["client_id", "account_id", "symbol", "session"]
    names = trades.groupby(keys, observed=True, sort=False).agg(sums).reset_index()
    names["matched"] = names[["bought", "sold"]].min(axis=1)
    days = names.groupby(["client_id", "session"], observed=True, sort=False)[
        [*sums, "matched"]
    ].sum()
    days = days.reset_index()
    days["active"] = 1
    days["decayed"] = (days["bought"] + days["sold"]) * DECAY ** (t - days["session"]) * (1 - DECAY)
    columns = [*sums, "matched", "active"]
    out = days.groupby("client_id", observed=True).agg({"decayed": "sum", "session": "max"})
    for window in WINDOWS:
        recent = days[days["session"] > t - window]
        part = recent.groupby("client_id", observed=True)[columns].sum()
        out = out.join(part.add_suffix(f"_{window}"))
    return _ratios(out.fillna(0))


def _ratios(out: Any) -> Any:
    """The features that are quotients of the sums."""
    for window in WINDOWS:
        traded = out[f"bought_{window}"] + out[f"sold_{window}"]
        out[f"traded_{window}"] = traded
        out[f"net_buying_{window}"] = (out[f"bought_{window}"] - out[f"sold_{window}"]) / traded
        out[f"day_trade_{window}"] = 2 * out[f"matched_{window}"] / traded
        out[f"financed_{window}"] = out[f"financed_buy_{window}"] / out[f"bought_{window}"]
    return out


def with_polars(lake: Path, session: str) -> Any:
    """The same in Polars, lazily and with its streaming engine."""
    import polars as pl

    days = pl.read_parquet(lake / "sessions" / "*.parquet")["session"].sort()
    cuts = days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").dt.offset_by("10h")
    t = int(days.search_sorted(np.datetime64(session, "D").astype(object)))
    buy, value = pl.col("side") == "buy", pl.col("value")
    trades = (
        pl.scan_parquet(lake / "trades" / "*" / "*.parquet", hive_partitioning=False)
        .select(COLUMNS)
        .filter((pl.col("event_at") <= cuts[t]) & (pl.col("known_at") <= cuts[t]))
        .sort("known_at", maintain_order=True)
        .unique("trade_id", keep="last")
        .with_columns(
            value=pl.col("quantity_shares") * (pl.col("price") * 10_000).cast(pl.Int64),
            session=pl.lit(cuts).search_sorted(pl.col("event_at")).cast(pl.Int32),
        )
    )
    sums = ["trades", "bought", "sold", "financed_buy"]
    daily = (
        trades.group_by("client_id", "account_id", "symbol", "session")
        .agg(
            trades=pl.len().cast(pl.Int64),
            bought=pl.when(buy).then(value).otherwise(0).sum(),
            sold=pl.when(buy).then(0).otherwise(value).sum(),
            financed_buy=pl.when(buy & pl.col("financed")).then(value).otherwise(0).sum(),
        )
        .with_columns(matched=pl.min_horizontal("bought", "sold"))
        .group_by("client_id", "session")
        .agg(pl.col([*sums, "matched"]).sum())
        .with_columns(active=pl.lit(1, pl.Int64))
    )
    recent = [
        pl.col(name).filter(pl.col("session") > t - window).sum().alias(f"{name}_{window}")
        for window in WINDOWS
        for name in [*sums, "matched", "active"]
    ]
    age = (t - pl.col("session")).cast(pl.Float64)
    decayed = ((pl.col("bought") + pl.col("sold")) * (DECAY**age) * (1 - DECAY)).sum()
    out = daily.group_by("client_id").agg(*recent, decayed=decayed, session=pl.col("session").max())
    ratios = []
    for w in WINDOWS:
        traded = pl.col(f"bought_{w}") + pl.col(f"sold_{w}")
        ratios += [
            traded.alias(f"traded_{w}"),
            ((pl.col(f"bought_{w}") - pl.col(f"sold_{w}")) / traded).alias(f"net_buying_{w}"),
            (2 * pl.col(f"matched_{w}") / traded).alias(f"day_trade_{w}"),
            (pl.col(f"financed_buy_{w}") / pl.col(f"bought_{w}")).alias(f"financed_{w}"),
        ]
    return out.with_columns(ratios).collect(engine="streaming")


def main() -> None:
    """Time one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lake", type=Path)
    parser.add_argument("session")
    parser.add_argument("--polars", action="store_true")
    arguments = parser.parse_args()
    if arguments.polars:
        import polars  # noqa: F401 - its import is not timed
    else:
        import pandas  # noqa: F401 - nor is this one
    started, used = time.perf_counter(), time.process_time()
    work = with_polars if arguments.polars else with_pandas
    out = work(arguments.lake, arguments.session)
    spent, used = time.perf_counter() - started, time.process_time() - used
    document = {
        "seconds": spent,
        "cpu_seconds": used,
        "clients": len(out),
        "trades": int(out["trades_250"].sum()),
        "bought": int(out["bought_250"].sum()),
        "matched": int(out["matched_250"].sum()),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
