"""Prometheus metrics in base units; never a client's number, a subject or an amount."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The service's own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gearline_http_requests_total",
            "Requests answered",
            ("operation", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "gearline_http_request_duration_seconds",
            "Time from the request's last byte to the answer",
            ("operation",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.decisions = Counter(
            "gearline_decisions_total",
            "Decisions recorded",
            ("outcome",),
            registry=self.registry,
        )
        self.shadow = Counter(
            "gearline_shadow_decisions_total",
            "Decisions offered to models beside the champion, after the answer",
            ("result",),
            registry=self.registry,
        )
        for result in ("scored", "dropped", "skipped", "failed"):
            self.shadow.labels(result)
        self.beside = Gauge(
            "gearline_models_beside_champion",
            "Challengers and shadows that decide beside the champion, on nobody",
            registry=self.registry,
        )
        self.ready = Gauge("gearline_ready", "1 while the service is ready", registry=self.registry)
        self.good_until = Gauge(
            "gearline_features_good_until_timestamp_seconds",
            "When the published features run out",
            registry=self.registry,
        )
