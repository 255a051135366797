"""Tallies: exact integer sums of what a client did, over windows of sessions.

They are counted from the fills in one way for every use. A book counts those it has read; the full
build scans the lake with DuckDB, bucket by bucket, any number of buckets at once; the nightly build
carries a state and adds what was learned since. All three give the same integers, because integer
sums do not depend on the order of their terms, and the one float, a decaying mean, is carried
forward session by session by a single thread.
"""
