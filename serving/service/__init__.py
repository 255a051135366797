"""The decision service: one ASGI app over the same ``decide`` as the nightly batch.

``settings`` is what an operator chooses, ``tokens`` who calls, ``problems`` how it says no,
``requests`` what may be asked, ``world`` what a decision needs of the published night, ``engine``
how requests become recorded decisions, ``answers`` how an entry becomes an answer, ``app`` the
routes, ``openapi`` their description.
"""
