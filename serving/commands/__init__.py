"""The verbs of the serving side. ``nights`` decides on books, ``record`` looks into what is stored.

``nights`` holds ``reprice`` and the demo's nights, ``case_file`` holds ``decide`` and the example
case, ``simulate`` the what-if, ``record`` holds ``replay`` and ``ledger``, ``service`` holds
``serve`` and ``token``.
"""

from serving.commands.case_file import run_decide, write_case_file
from serving.commands.nights import Nights, decide_nights, run_reprice
from serving.commands.record import run_export, run_migrate, run_prove, run_replay, run_verify
from serving.commands.service import run_serve, run_token
from serving.commands.simulate import run_simulate

__all__ = [
    "Nights",
    "decide_nights",
    "run_decide",
    "run_export",
    "run_migrate",
    "run_prove",
    "run_replay",
    "run_reprice",
    "run_serve",
    "run_simulate",
    "run_token",
    "run_verify",
    "write_case_file",
]
