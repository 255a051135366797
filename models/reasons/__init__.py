"""Reason codes, their audience, and their texts in English and Chinese."""

from models.reasons.catalogue import CATALOGUE, ReasonText, render

__all__ = ["CATALOGUE", "ReasonText", "render"]
