"""``gearline pictures``: what a bundle has learnt, drawn."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.lake import check_output_folder
from training.pictures.shapes import pictured, waterfall_of

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]
INDEX: Final = "pictures.txt"


def _slug(*names: str) -> str:
    """File-name part: letters, digits and dashes."""
    return "-".join(re.sub(r"[^0-9A-Za-z]+", "-", n).strip("-").lower()[:40] or "x" for n in names)


def run_pictures(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``pictures``."""
    from training.pictures import draw

    if arguments.most < 1:
        raise InputError(f"--most is {arguments.most}; it must be at least 1")
    if (arguments.table is None) != (arguments.row is None):
        raise InputError("--table and --row go together: the row of a table to draw as a waterfall")
    check_output_folder(arguments.out, INDEX, "`gearline pictures`")
    language = arguments.lang
    found = pictured(arguments.bundle)
    kinds = ["svg"]
    if language == "en" or draw.chinese_font() is not None:
        kinds.append("png")
    arguments.out.mkdir(parents=True, exist_ok=True)
    files: list[str] = []
    total = min(arguments.most, len(found.shapes)) + min(arguments.most, len(found.heats))
    with draw.styled():
        for k, shape in enumerate(found.shapes[: arguments.most]):
            path = arguments.out / f"shape-{k + 1:02}-{_slug(shape.axis.name.en)}"
            files += draw.write(draw.shape_figure(shape, language), path, kinds)
            stages("pictures", len(files) // len(kinds), total)
        for k, heat in enumerate(found.heats[: arguments.most]):
            path = (
                arguments.out / f"pair-{k + 1:02}-{_slug(heat.first.name.en, heat.second.name.en)}"
            )
            files += draw.write(draw.heat_figure(heat, language), path, kinds)
            stages("pictures", len(files) // len(kinds), total)
        if arguments.table is not None:
            parts, base, score = waterfall_of(arguments.bundle, arguments.table, arguments.row)
            path = arguments.out / f"waterfall-row-{arguments.row}"
            figure = draw.waterfall_figure(parts, base, score, language)
            files += draw.write(figure, path, kinds)
    (arguments.out / INDEX).write_text("\n".join(files) + "\n", encoding="utf-8")
    document = {
        "shapes": len(found.shapes),
        "pairs": len(found.heats),
        "bands": any(s.low is not None for s in found.shapes),
        "kinds": kinds,
        "files": files,
        "out": str(arguments.out),
    }
    text = f"{len(files)} pictures written to {arguments.out}"
    if "png" not in kinds:
        text += "; no PNG, because no installed font has Chinese characters (--lang en needs none)"
    return 0, document, text
