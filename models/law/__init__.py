"""Law and exchange rules as limits of debt: what a dated policy makes of a book, in integers.

All amounts are minor units, all ratios 1e-6, every rounding is against the client.
"""
