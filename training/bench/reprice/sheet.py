"""The scale sheet: what was measured, and apart from it what follows for other books."""

from __future__ import annotations

import math
from typing import Any, Final

BOOKS: Final = (1_000_000, 10_000_000, 200_000_000)


def scale_sheet(
    clients: int,
    seconds: float,
    started: float,
    cores: int,
    cpu_seconds: float,
    exponent: float,
    price: float,
    window_hours: float,
) -> dict[str, Any]:
    """Measured cost per client; machines, hours and money for three sizes.

    Parameters
    ----------
    seconds, cpu_seconds : of the measured night, wall and processor
    started : wall seconds of a night without clients: paid once a machine
    exponent : measured growth; the extrapolation grows with the larger of it and 1
    price : of an hour of one machine as measured
    window_hours : within which the night must end; buckets are shared out among machines
    """
    measured = {
        "clients": clients,
        "seconds": round(seconds, 3),
        "cores": cores,
        "microseconds_a_client": round(seconds / clients * 1e6, 2),
        "cpu_microseconds_a_client": round(cpu_seconds / clients * 1e6, 2),
        "machine_hours": round(seconds / 3600, 6),
        "money": round(seconds / 3600 * price, 6),
    }
    books = []
    for book in BOOKS:
        work = (seconds - started) * (book / clients) ** max(exponent, 1.0)
        room = window_hours * 3600 - started
        machines = max(1, math.ceil(work / room))
        hours = (started + work / machines) / 3600
        books.append(
            {
                "clients": book,
                "machines": machines,
                "hours": round(hours, 3),
                "machine_hours": round(hours * machines, 3),
                "money": round(hours * machines * price, 2),
            }
        )
    return {
        "price_a_machine_hour": price,
        "window_hours": window_hours,
        "measured": measured,
        "extrapolated": books,
    }


def text_of(d: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [
        f"{d['clients']:,} clients in {d['seconds']['ours']:.1f} s on {d['cores']} cores:"
        f" {d['clients_per_second']:,} a second, at most {d['peak_rss_mb']:,} MB",
        *(f"  {k:<12}{v:>10.2f} s of processor" for k, v in d["seconds_by_stage"].items()),
    ]
    for name in ("usual", "pred_contrib", "duckdb"):
        ratio = d[f"ratio_to_{name}"]
        on = d["slice_clients"][name]
        lines.append(f"ratio_to_{name}: {ratio} (it ran on {on:,} clients, scaled)")
    lines.append(f"ratio_to_floor: {d['ratio_to_floor']}; growth {d['growth_exponent']}")
    sheet = d["scale_sheet"]
    m = sheet["measured"]
    lines.append(f"measured: {m['microseconds_a_client']} us a client, {m['money']} of money")
    for b in sheet["extrapolated"]:
        lines.append(
            f"extrapolated: {b['clients']:,} clients: {b['machines']} machines, {b['hours']} h,"
            f" {b['money']} of money at {sheet['price_a_machine_hour']} a machine-hour"
        )
    return "\n".join([*lines, *d["notes"]])
