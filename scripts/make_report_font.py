"""Make the report's font: the characters of its Chinese texts, from Noto Sans CJK SC (OFL 1.1).

Needs fonttools (matplotlib brings it) and Debian's fonts-noto-cjk. Run after a text with a new character:
``python scripts/make_report_font.py``; a test names the characters that are missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
OUT = ROOT / "training" / "validation" / "fonts" / "GearlineReportSans.woff"
FOLDERS = ("training/validation", "training/report", "features", "models", "data_contracts")
FAMILY = "Gearline Report Sans"


def characters() -> set[str]:
    """Every character beyond ASCII of the texts, and what numbers and punctuation need."""
    found = set("".join(map(chr, range(32, 127))))
    for folder in FOLDERS:
        for suffix in ("*.py", "*.j2", "*.yaml"):
            for path in (ROOT / folder).rglob(suffix):
                found |= {c for c in path.read_text(encoding="utf-8") if ord(c) > 126}
    return found


def main() -> int:
    font = next(
        f for f in TTCollection(SOURCE).fonts if f["name"].getDebugName(1) == "Noto Sans CJK SC"
    )
    options = subset.Options()
    options.flavor = "woff"
    options.layout_features = ["kern", "liga", "locl"]
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.hinting = False
    tool = subset.Subsetter(options)
    tool.populate(text="".join(sorted(characters())))
    tool.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 4):
            record.string = FAMILY
        if record.nameID in (3, 6):
            record.string = FAMILY.replace(" ", "")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    subset.save_font(font, str(OUT), options)
    print(f"{len(font.getBestCmap())} characters, {OUT.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
