"""``bench features``: the tallies of trades against pandas, Polars and a bare scan of one lake."""
