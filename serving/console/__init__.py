"""The console: server-rendered pages of the service for the people who must decide.

It is mounted in the service's own ASGI app and has no rules of its own: what is shown comes from
the engine, the ledger and the review queue, what is done goes through their operations. ``frame``
holds what every page shares (who, which language, headers, forgery), ``session`` the sealed cookie,
``access`` who may open what, ``texts`` every word in two languages, ``pictures`` the geometry of
the charts, ``pages`` one module a screen.
"""
