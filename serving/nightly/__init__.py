"""The nightly batch: a first pass for book-level terms, then all decisions, sealed by bucket."""

from serving.nightly.run import RunReport, reprice

__all__ = ["RunReport", "reprice"]
