"""Rules of lending compared at the same credit: who is sold by force, on real prices.

Clients and their behaviour are simulated (``training.lab``); prices, limits, locks and suspensions
are real. ``gearline bench frontier`` is the front door.
"""
