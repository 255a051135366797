"""What is published: ``flow`` judges, publishes and rolls back, ``history`` replays the ledger's
entries, ``tables`` keeps a night in PostgreSQL.
"""
