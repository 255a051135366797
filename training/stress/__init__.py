"""The stress desk: what a market move does to a whole book, streamed and never materialised.

``scenario`` says what happens to prices, liquidity and trading; ``book`` lays the accounts of a lake
out in columns; ``kernel`` walks them through a path in integers; ``desk`` runs scenarios, replays,
Monte Carlo and reverse stress. What the lender would decide after a shock is decided by the engine
of every night (``gearline reprice``); with no shock its bytes are the night's own.
"""
