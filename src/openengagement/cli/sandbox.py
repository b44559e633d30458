"""`openengagement sandbox`: a server with weeks of engagement and working credentials."""

import dataclasses
import os
import shlex
import sys
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
    short,
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
from openengagement.cli.serve import DEFAULT_PORT, Port, refuse_used_port, replace_process
from openengagement.files import FileLock, write_private
from openengagement.limits.opening import open_limits
from openengagement.sandbox.demo import Demo
from openengagement.sandbox.forward_proxy import LOOPBACK as HOST
from openengagement.sandbox.seed import Recipe, build_sandbox
from openengagement.settings import ENV_PREFIX, SANDBOX_VARIABLE

_LOCK: Final = "sandbox.lock"
_SAMPLES: Final = Path("examples/sample_code")


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
    if ports is None:
        refuse_used_port(HOST, port)
    else:
        ports.refuse_used_ports()
    folder: Path = context.obj / "sandbox"
    started_s = time.monotonic()
    _hold(folder)
    interception = None if ports is None else set_up_interception(folder, ports)
    demo = _build(folder, recipe)
    environment = write_private(folder / "credentials.env", _environment(demo, port).encode())
    text = _as_json(demo, port, interception=interception)
    if not json:
        text = _describe(demo, port, environment=environment, higgs=higgs)
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


def _as_json(demo: Demo, port: int, *, interception: Interception | None) -> str:
    fields = {"url": f"http://{HOST}:{port}", **dataclasses.asdict(demo)}
    fields |= {
        "app_id": str(demo.app_id),
        "tweet_ids": [str(tweet_id) for tweet_id in demo.tweet_ids],
        "other_tweet_id": None if demo.other_tweet_id is None else str(demo.other_tweet_id),
    }
    if interception is not None:
        fields["intercept"] = interception.fields()
    return msgspec.json.encode(fields).decode()


def _environment(demo: Demo, port: int) -> str:
    """Return the `.env` file of the sample code for this sandbox."""
    lines = {
        "ENGAGEMENT_API_URL": f"http://{HOST}:{port}",
        "CONSUMER_KEY": demo.consumer_key,
        "CONSUMER_SECRET": demo.consumer_secret,
        "ACCESS_TOKEN": demo.access_token,
        "ACCESS_TOKEN_SECRET": demo.access_token_secret,
        "BEARER_TOKEN": demo.bearer_token,
        "PLATFORM_KEY": demo.platform_key,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _describe(demo: Demo, port: int, *, environment: Path, higgs: Path | None) -> str:
    body = (
        f'{{"tweet_ids":["{demo.other_tweet_id or "TWEET_ID"}"],'
        '"engagement_types":["favorites","retweets","replies"],'
        '"groupings":{"by tweet":{"group_by":["tweet.id","engagement.type"]}}}'
    )
    python = shlex.quote(short(Path(sys.executable)))
    ids = " ".join(map(str, demo.tweet_ids[:2])) or "TWEET_ID"
    sample = f"{python} {_SAMPLES}/{{}}.py --env {shlex.quote(short(environment))} {ids}"
    return f"""
Open Engagement sandbox on http://{HOST}:{port}
{_label(demo, higgs)}

  owner                @{demo.screen_name}
  App ID               {demo.app_id} (enabled)
  consumer key         {demo.consumer_key}
  consumer secret      {demo.consumer_secret}
  access token         {demo.access_token}
  access token secret  {demo.access_token_secret}
  bearer token         {demo.bearer_token}
  platform key         {demo.platform_key}
  callback URL         {demo.callback} (/portal changes it)
  sign-in password     {demo.password}
  as a .env file       {short(environment)}

Public totals of any Tweet, with the bearer token:

  curl --compressed http://{HOST}:{port}/insights/engagement/totals \\
    -H 'Authorization: Bearer {demo.bearer_token}' \\
    -H 'Content-Type: application/json' \\
    -d '{body}'

The owner's last 28 hours, and four weeks, signed with OAuth 1.0a (from a checkout):

  {sample.format("get_28hr")}
  {sample.format("get_historical")}

Pages: http://{HOST}:{port} shows how the owner's Tweets do, /explore has charts, /portal creates
apps and their keys, and /settings/apps lists the apps that may use an account. Sign in as
{demo.screen_name} with the password above.

Get an access token with a PIN that you copy from the browser:

  {python} {_SAMPLES}/authorize_with_pin.py --env {shlex.quote(short(environment))}

At http://{HOST}:{port}/manage a manager enables apps and sees their usage. Sign in as
{demo.manager} with the password {demo.manager_password}
"""


def _label(demo: Demo, higgs: Path | None) -> str:
    if not demo.tweets:
        return "EMPTY: accounts and credentials, but no Tweets. Send them with the platform key."
    if higgs is None:
        return f"SIMULATED: {demo.tweets:,} Tweets, {demo.events:,} event rows, none of them real."
    real = demo.events - demo.simulated
    label = (
        f"Real: {real:,} interactions of July 2012 with {demo.tweets:,} Tweets, moved to end now."
    )
    if not demo.simulated:
        return f"{label} Nothing is simulated."
    return (
        f"{label}\nSIMULATED in addition: {demo.simulated:,} event rows of impressions, clicks, "
        "likes and views; --no-simulated leaves them out."
    )
