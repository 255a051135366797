"""All that determines a decision: scorer, calibration, tiers, margin, price, reasons, ``decide``.

The code here is pure: it reads no clock, no socket, no database and no random state. Inside
``decide`` all arithmetic is on integers; floats end at its boundary.
"""
