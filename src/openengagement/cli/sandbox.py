"""`openengagement sandbox`: a server with weeks of engagement and working credentials."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from openengagement.cli.common import (
    CLOCK,
    Json,
    fail,
    failures_shown,
    read_settings,
    refuse_shared_registry,
)
from openengagement.cli.interception import (
    DEFAULT_HTTPS_PORT,
    DEFAULT_PROXY_PORT,
    HttpsPort,
    Intercept,
    Interception,
    Ports,
    ProxyPort,
    set_up_interception,
)
from openengagement.cli.sandbox_options import Empty, Now, Seed, parse_now
from openengagement.cli.sandbox_output import demo_fields, describe_demo, make_environment
from openengagement.cli.serve import DEFAULT_PORT, Port, refuse_used_port, replace_process
from openengagement.files import FileLock, write_private
from openengagement.limits.opening import open_limits
from openengagement.sandbox.demo import Demo
from openengagement.sandbox.forward_proxy import LOOPBACK as HOST
from openengagement.sandbox.seed import Recipe, build_sandbox
from openengagement.settings import ENV_PREFIX, SANDBOX_VARIABLE

_LOCK: Final = "sandbox.lock"


def sandbox(
    context: typer.Context,
    port: Port = DEFAULT_PORT,
    higgs: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Serve the real week of examples/higgs from this file, moved to end now.",
        ),
    ] = None,
    simulated: Annotated[
        bool,
        typer.Option(help="Add simulated impressions, clicks, likes and views to the real week."),
    ] = True,
    seed: Seed = None,
    now: Now = None,
    empty: Empty = False,
    intercept: Intercept = False,
    intercept_port: ProxyPort = DEFAULT_PROXY_PORT,
    https_port: HttpsPort = DEFAULT_HTTPS_PORT,
    json: Json = False,
) -> None:
    """Serve a sandbox: four weeks of engagement, demo credentials, and commands to paste."""
    refuse_shared_registry("sandbox")
    recipe = Recipe(higgs, simulated=simulated, empty=empty, seed=seed, now_s=parse_now(now))
    _refuse_contradictions(recipe)
    ports = Ports(plain=port, https=https_port, proxy=intercept_port) if intercept else None
    ports.refuse_used_ports() if ports else refuse_used_port(HOST, port)
    folder: Path = context.obj / "sandbox"
    started_s = time.monotonic()
    _hold(folder)
    interception = None if ports is None else set_up_interception(folder, ports)
    demo = _build(folder, recipe)
    url = f"http://{HOST}:{port}"
    environment = write_private(folder / "credentials.env", make_environment(demo, url).encode())
    if json:
        text = _as_json(demo, url, interception=interception)
    else:
        described = describe_demo(demo, url, environment=environment, higgs=higgs)
        text = f"\nOpen Engagement sandbox on {url}\n{described}"
        text += interception.describe() if interception else ""
    ready_text = write_private(folder / "ready.txt", text.encode())
    _set_environment(recipe)
    os.environ.setdefault("OPENENGAGEMENT_LOG_REFUSALS", "true")
    os.environ.setdefault("OPENENGAGEMENT_ACCESS_LOG", "off")  # refusals have lines of their own
    ready = {"--ready-text": ready_text, "--started-s": None if json else started_s}
    if interception is not None:
        interception.serve(folder, ready)
    options = {"--host": HOST, "--port": port, "--workers": 1, **ready}
    replace_process("supervisor", folder, options=options)


def _set_environment(recipe: Recipe) -> None:
    """Tell the server that it is a sandbox. What is sent to it is in its next answer."""
    os.environ[f"{ENV_PREFIX}INTAKE"] = "direct"
    os.environ[SANDBOX_VARIABLE] = "" if recipe.now_s is None else str(recipe.now_s)


def _refuse_contradictions(recipe: Recipe) -> None:
    if recipe.higgs is None and not recipe.simulated:
        fail("--no-simulated needs --higgs FILE; without a file everything is simulated")
    if recipe.higgs is not None and recipe.empty:
        fail("--empty has no Tweets, so it cannot serve those of --higgs")


def _build(folder: Path, recipe: Recipe) -> Demo:
    typer.echo("Building engagement that ends now ...", err=True)
    settings = read_settings()
    with failures_shown(folder):
        open_limits(folder).close()  # otherwise only the server would notice a failure
        try:
            # Build in a separate process, so that the server does not keep the memory.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as builder:
                return builder.submit(
                    build_sandbox, folder, settings, clock=CLOCK, recipe=recipe
                ).result()
        except ValueError as error:  # the Higgs file
            fail(str(error))
        except BrokenProcessPool:
            fail("the process that builds the sandbox was killed; is there enough memory?")


def _hold(folder: Path) -> None:
    """Lock the folder for this sandbox, because each start builds it again.

    The lock stays with the process when it becomes the server, until that ends.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made_here = any((folder / name).exists() for name in (_LOCK, "credentials.env"))
    if not made_here and any(folder.glob("counters.*")):
        fail(f"{folder} holds counters and was not made by a sandbox; choose another --data")
    if not FileLock(folder / _LOCK).hold_until_exit():
        fail(f"a sandbox is running on {folder}; stop it, or give another folder with --data")


def _as_json(demo: Demo, url: str, *, interception: Interception | None) -> str:
    fields = {"url": url, **demo_fields(demo)}
    if interception is not None:
        fields["intercept"] = interception.fields()
    return msgspec.json.encode(fields).decode()
