"""``serve`` and ``token``: the decision service, and a way in for those who try it."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from models.bundle import APPLICATION_FOLDER, Bundle
from serving.commands.places import Answer, Stages, existing_ledger, ledger_at
from serving.ledger import Ledger, LedgerReader, named
from serving.nightly.publishing.history import find_run, history
from serving.service.settings import Settings, ShiftedClock, utc_now

DEMO_FILE: Final = "demo.json"
DEMO_REVIEW_DAYS: Final = 365
_LOCAL_HOSTS: Final = ("127.0.0.1", "::1", "localhost")


def is_demo(lake: Path) -> bool:
    """Whether ``gearline demo`` made the folder: then its clock stands in the past."""
    return (lake / DEMO_FILE).is_file()


def demo_clock(lake: Path, ledger: Any) -> ShiftedClock:
    """A clock that starts mid-morning of the day the night in force is effective on."""
    with LedgerReader(ledger) as reader:
        # the night in force, or the one that serving will publish first
        started = find_run(reader, history(reader).current).started
    day = dt.date.fromisoformat(started["effective_on"])
    return ShiftedClock(dt.datetime.combine(day, dt.time(2), dt.UTC) - utc_now())


def release_demo_model(lake: Path, ledger: Any, today: dt.date) -> None:
    """What two people's approval does elsewhere: the demo's own models count as released."""
    with LedgerReader(ledger) as reader:
        # the night in force, or the one that serving will publish first
        started = find_run(reader, history(reader).current).started
    bundles = [str(started["bundle"])]
    if (lake / APPLICATION_FOLDER).is_dir():
        bundles.append(Bundle.read(lake / APPLICATION_FOLDER).sha256)
    review_on = (today + dt.timedelta(days=DEMO_REVIEW_DAYS)).isoformat()
    with Ledger.open(ledger) as writer:
        for bundle in bundles:
            key = f"demo-release/{bundle}"
            if writer.position_of(key) is None:
                by = {"proposal_id": None, "by": "gearline demo"}
                body = {"bundle": bundle, "review_on": review_on, **by}
                writer.append([{"kind": "model_released", "body": body}], idempotency_keys=[key])


def open_demo_cases(lake: Path, ledger: Any, now: dt.datetime) -> None:
    """Put the published night's cases into the review queue, as the nightly job does elsewhere."""
    from serving.review import ReviewDesk, ReviewStore

    with LedgerReader(ledger) as reader:
        run_id = find_run(reader, history(reader).current).run_id
    with Ledger.open(ledger) as writer, ReviewStore(ledger) as store:
        ReviewDesk(writer, store).open_run(lake, run_id, now)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The options as one object; a demo gets its own clock, key and release."""
    lake: Path = arguments.lake
    existing_ledger(lake, arguments.ledger)
    ledger = ledger_at(lake, arguments.ledger)
    demo = is_demo(lake)
    local = arguments.local_tokens or (demo and arguments.jwks is None)
    if local and arguments.host not in _LOCAL_HOSTS:
        raise InputError(
            f"local tokens are for trying out: --host {arguments.host} can be reached from outside;"
            " use --issuer and --jwks of your OIDC provider there"
        )
    now: Any = utc_now
    if demo:
        now = demo_clock(lake, ledger)
        release_demo_model(lake, ledger, now().date())
        open_demo_cases(lake, ledger, now())
    return Settings(
        lake=lake,
        ledger=ledger,
        local_tokens=local,
        issuer=arguments.issuer,
        audience=arguments.audience,
        jwks=arguments.jwks,
        rate=arguments.rate,
        now=now,
        open_sign_in=demo and local,
    )


def _listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address, or one error that says what is wrong with it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host} port {port}: {why}; stop what listens there, or choose"
            " another --port"
        ) from None
    return listening


def run_serve(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``serve``: until it is stopped."""
    import uvicorn

    settings = settings_of(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    if arguments.access_log:
        logging.getLogger("gearline.service").setLevel(logging.INFO)
    from serving.service.app import create_app

    listening = _listen(arguments.host, arguments.port)
    app = create_app(settings)
    # before the server runs, so that what is wrong is told in one line
    app.state.service.start()
    url = f"http://{arguments.host}:{arguments.port}"
    say = [f"Gearline serves {settings.lake} on {url}, ledger {named(settings.ledger)}"]
    say.append(f"the console: {url}/console/")
    if isinstance(settings.now, ShiftedClock):
        say.append(f"a demo: its clock stands at {settings.now():%Y-%m-%d %H:%M} UTC")
        say.append("local tokens: gearline token --role service")
    print("\n".join(say), file=sys.stderr, flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=30,
        )
    )
    server.run(sockets=[listening])
    return 0, {"served": url, "stopped": True}, "stopped"


def run_token(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``token``: a bearer token of the lake's own key."""
    from serving.service.tokens import mint

    existing_ledger(arguments.lake, arguments.ledger)
    if not 0 < arguments.hours <= 24 * 7:
        raise InputError(f"--hours is {arguments.hours}; a token lives at most a week")
    subject = arguments.subject or f"{os.environ.get('USER', 'somebody')}-{arguments.role}"
    token = mint(
        arguments.lake, arguments.role, subject, arguments.hours, time.time(), arguments.audience
    )
    expires = utc_now() + dt.timedelta(hours=arguments.hours)
    document = {
        "token": token,
        "role": arguments.role,
        "subject": subject,
        "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return 0, document, token
