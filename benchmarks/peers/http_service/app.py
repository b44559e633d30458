"""The service: FastAPI, SQLAlchemy on asyncpg, PostgreSQL; only what the benchmark requests."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import counters
import numpy as np
import orjson
import tables
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.gzip import GZipMiddleware
from pydantic import AwareDatetime, BaseModel, Field
from signed import Token, Verifier
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

HOUR_S = 3600
LAST_HOURS = 28
WINDOW_MAX_HOURS = 28 * 24
POOL_SIZE = 10
# The product's level: a third of the time of the usual ones.
GZIP_LEVEL = 1
# A read needs no transaction around it: two trips to the database fewer.
engine = create_async_engine(
    os.environ["DATABASE_URL"],
    pool_size=POOL_SIZE,
    max_overflow=0,
    isolation_level="AUTOCOMMIT",
)

Dimension = Literal["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]
Type = Literal[tables.TYPES]


class Grouping(BaseModel):
    """The nesting of one grouping of the answer."""

    group_by: Annotated[list[Dimension], Field(min_length=1, max_length=4)]


class Totals(BaseModel):
    """The body of `/totals`."""

    tweet_ids: Annotated[list[int], Field(min_length=1, max_length=250)]
    engagement_types: Annotated[list[Type], Field(min_length=1)]
    groupings: Annotated[dict[str, Grouping], Field(min_length=1, max_length=3)]


class Last28Hours(Totals):
    """The body of `/28hr`."""

    tweet_ids: Annotated[list[int], Field(min_length=1, max_length=25)]


class Historical(Last28Hours):
    """The body of `/historical`."""

    start: AwareDatetime
    end: AwareDatetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.connect() as db:
        rows = (await db.execute(select(tables.tokens))).all()
    app.state.verifier = Verifier(Token(**row._mapping) for row in rows)  # noqa: SLF001
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=GZIP_LEVEL)


async def signer(request: Request) -> int:
    """The account whose access token signed the request."""
    authorization = request.headers.get("authorization", "")
    user_id = app.state.verifier.user_id(str(request.url), authorization)
    if user_id is None:
        raise HTTPException(401)
    return user_id


async def connected() -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        yield connection


User = Annotated[int, Depends(signer)]
Database = Annotated[AsyncConnection, Depends(connected)]


@app.post("/insights/engagement/totals")
async def totals(requested: Totals, user_id: User, db: Database) -> Response:
    await must_own(db, requested.tweet_ids, user_id)
    counts = await counters.read_totals(db, requested.tweet_ids, requested.engagement_types)
    return answer(requested, counts, range(1))


@app.post("/insights/engagement/28hr")
async def last_28_hours(requested: Last28Hours, user_id: User, db: Database) -> Response:
    now = time.time()
    window = range(int(now // HOUR_S) - LAST_HOURS, int(-(-now // HOUR_S)))
    return await timed(requested, user_id, db=db, window=window)


@app.post("/insights/engagement/historical")
async def historical(requested: Historical, user_id: User, db: Database) -> Response:
    start, end = requested.start.timestamp(), requested.end.timestamp()
    if not 0 < end - start <= WINDOW_MAX_HOURS * HOUR_S:
        raise HTTPException(400)
    window = range(int(start // HOUR_S), int(-(-end // HOUR_S)))
    return await timed(requested, user_id, db=db, window=window)


async def timed(requested: Totals, user_id: int, *, db: AsyncConnection, window: range) -> Response:
    await must_own(db, requested.tweet_ids, user_id)
    counts = await counters.read_hours(
        db, requested.tweet_ids, requested.engagement_types, first=window.start, end=window.stop
    )
    return answer(requested, counts, window, start=time_of(window.start), end=time_of(window.stop))


async def must_own(db: AsyncConnection, tweet_ids: list[int], user_id: int) -> None:
    authors = await counters.read_authors(db, tweet_ids)
    if any(authors.get(tweet_id) != user_id for tweet_id in tweet_ids):
        raise HTTPException(403)


def answer(requested: Totals, counts: np.ndarray, window: range, **more: Any) -> Response:  # noqa: ANN401
    cells = counters.Answer(counts, requested.tweet_ids, requested.engagement_types, window=window)
    groups = {name: cells.group(each.group_by) for name, each in requested.groupings.items()}
    return Response(orjson.dumps(more | groups), media_type="application/json")


def time_of(hour: int) -> str:
    return datetime.fromtimestamp(hour * HOUR_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "up"}
