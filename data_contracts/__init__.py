"""What crosses a boundary: tables, feature frame, case, market snapshot, decision, units.

Every schema of Gearline is a Python dataclass in this package and everything else (Arrow schema,
DDL, documentation page, JSON form) is derived from it. The checks that refuse or quarantine rows
live here too. This package knows no model and no price formula, and imports nothing of the other
four packages.
"""
