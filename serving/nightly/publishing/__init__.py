"""What is published: the gate's verdict, the ledger's entry, files and tables that follow it."""

from serving.nightly.publishing.flow import (
    Publication,
    catch_up,
    follow,
    publish_first,
    publish_run,
    rollback,
)
from serving.nightly.publishing.history import PUBLISHED_KIND, History, Run, find_run, history

__all__ = [
    "PUBLISHED_KIND",
    "History",
    "Publication",
    "Run",
    "catch_up",
    "find_run",
    "follow",
    "history",
    "publish_first",
    "publish_run",
    "rollback",
]
