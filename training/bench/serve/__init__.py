"""``bench serve``: the decision service against the usual stack, on one machine in one run."""

from training.bench.serve.run import run

__all__ = ["run"]
