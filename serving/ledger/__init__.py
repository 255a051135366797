"""The ledger: an append-only, tamper-evident record of everything that was decided and done.

One SQLite file or PostgreSQL database holds the entries and an RFC 9162 Merkle tree over them;
signed checkpoints kept elsewhere make truncation and rewriting visible. ``tree`` holds the pure
Merkle functions, ``envelope`` what surrounds a recorded body, ``database`` what a database must do,
``sqlite`` and ``postgres`` the two, ``migrations`` their schema, ``store`` the one writer,
``reading`` entries and proofs, ``checkpoint`` the signatures, ``verify`` the check of it all.
"""

from serving.ledger.checkpoint import Checkpoint
from serving.ledger.database import (
    LedgerDamagedError,
    LedgerUnavailableError,
    Location,
    exists,
    is_url,
    named,
)
from serving.ledger.envelope import KeyedRequest, RequestConflictError
from serving.ledger.findings import Finding, FirstBad, VerifyReport
from serving.ledger.group import Submission
from serving.ledger.reading import LedgerReader, StoredEntry, export, prove, read_entries
from serving.ledger.store import Head, Ledger
from serving.ledger.tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from serving.ledger.verify import verify
from serving.ledger.verify_segments import SegmentReader

__all__ = [
    "Checkpoint",
    "Finding",
    "FirstBad",
    "Head",
    "KeyedRequest",
    "Ledger",
    "LedgerDamagedError",
    "LedgerReader",
    "LedgerUnavailableError",
    "Location",
    "RequestConflictError",
    "SegmentReader",
    "StoredEntry",
    "Submission",
    "VerifyReport",
    "consistency_proof",
    "exists",
    "export",
    "inclusion_proof",
    "is_url",
    "leaf_hash",
    "named",
    "node_hash",
    "prove",
    "read_entries",
    "root",
    "verify",
    "verify_consistency",
    "verify_inclusion",
]
