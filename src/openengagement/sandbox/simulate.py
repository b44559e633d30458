"""Simulate engagement: the events that a real activity file lacks, or four weeks without a file.

The functions are pure: frames in, frames out. The same seed always gives the same rows. Therefore
numpy adds floats in a fixed order, and every grouped frame is sorted.

`examples/higgs/fit.py` fitted the constants to the SNAP "Higgs Twitter Dataset" (563,069
interactions with 59,977 targets in one week). The ratios are set by hand and state their reasons.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from openengagement.engagement.types import HOUR_S, SNOWFLAKE_EPOCH_MS, SNOWFLAKE_SHIFT
from openengagement.sandbox.dataset import ACCOUNTS_SCHEMA, EVENTS_SCHEMA, TWEETS_SCHEMA, Dataset

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DAY_HOURS: Final = 24
SPAN_HOURS: Final = 28 * DAY_HOURS  # what one request to /historical may ask for
AGE_HOURS: Final = 7 * DAY_HOURS  # of a Tweet; nearly nothing happens to older ones

# Interactions of a Tweet, p(n) ~ n^-POWER exp(-n / CUTOFF) from FROM up: maximum likelihood on the
# 4,675 targets with 12 interactions or more, which draw three quarters of all interactions. KS
# distance 0.017; samples of the fitted law itself show 0.008 (bootstrap p = 0.015): close, not
# perfect. The AIC is better by 8 than that of a log-normal, by 11 than that of a plain power law.
SIZE_FROM: Final = 12
SIZE_MOST: Final = 100_000
SIZE_POWER: Final = 1.8956
SIZE_CUTOFF: Final = 9460.6

# Interactions by whole hours since the Tweet, p(age) ~ (age + SHIFT)^-POWER exp(-age * RATE):
# maximum likelihood on 97,590 interactions within 48 hours, corrected for the rhythm of the day. KS
# distance 0.011; the AIC is better by 317 than without the cutoff, by 360 than that of a
# log-normal, by 619 than that of a stretched exponential. Beyond 48 hours it is an extrapolation.
DECAY_SHIFT: Final = 0.25
DECAY_POWER: Final = 0.7014
DECAY_RATE: Final = 0.0149

# Rhythm of the day, exp(AMPLITUDE cos(2 pi (hour - PEAK) / 24)), hours in UTC: least squares on the
# hours from one day after the busiest hour, R2 0.80. The busiest hour of a day has 2.3 times the
# volume of the quietest.
RHYTHM_AMPLITUDE: Final = 0.4181
RHYTHM_PEAK_HOUR: Final = 14.42

# Kinds of interaction and their counted shares among the same 4,675 targets.
KINDS: Final = ("retweets", "replies", "other_engagements")
KIND_SHARES: Final = (0.6660, 0.0408, 0.2932)


@dataclass(frozen=True, slots=True)
class Ratio:
    """`type` happens `per_thousand` times per thousand `of`, on Tweets with the trait `needs`."""

    type: str
    of: str
    per_thousand: float
    needs: str | None
    reason: str


# About 65% of interactions are retweets. With 200 impressions per interaction there are about 3
# retweets per thousand impressions, and an engagement rate of 4%: good, but not rare.
IMPRESSIONS_PER_INTERACTION: Final = 200
# The `of` of a row is a row above it. Media and video views never count as engagements.
RATIOS: Final = (
    Ratio("favorites", "impressions", 8.0, None, "a like costs least: 2 to 4 per retweet"),
    Ratio("detail_expands", "impressions", 11.0, None, "most clicks on a Tweet open it"),
    Ratio("user_profile_clicks", "impressions", 3.5, None, "fewer people look at the author"),
    Ratio("user_follows", "user_profile_clicks", 60.0, None, "one visitor in 17 stays"),
    Ratio("permalink_clicks", "impressions", 0.8, None, "only on desktop, on the Tweet's date"),
    Ratio("quote_tweets", "impressions", 0.45, None, "a seventh of retweets add a comment"),
    Ratio("email_tweet", "impressions", 0.01, None, "rare: a hidden menu item"),
    Ratio("url_clicks", "impressions", 8.0, "link", "click-through rates lie near 1%"),
    Ratio("hashtag_clicks", "impressions", 1.0, "hashtag", "few people look for other Tweets"),
    Ratio("media_views", "impressions", 450.0, "media", "autoplay reaches half of the people"),
    Ratio("media_engagements", "media_views", 20.0, "media", "one viewer in 50 taps the picture"),
    Ratio("video_views", "media_views", 550.0, "video", "not every video is half visible for 2 s"),
    Ratio("app_opens", "impressions", 0.6, "app", "only people who have the app"),
    Ratio("app_install_attempts", "impressions", 0.3, "app", "even fewer go to the store"),
)
# Share of Tweets with each trait; a video is media too.
TRAIT_SHARES: Final = {"video": 0.1, "media": 0.25, "link": 0.45, "hashtag": 0.4, "app": 0.02}
PROMOTED_TWEETS_SHARE: Final = 0.01
PROMOTED_PER_IMPRESSION: Final = 0.25
# Log-normal spread between Tweets: of the impressions per interaction, and of every ratio.
REACH_SIGMA: Final = 0.4
TASTE_SIGMA: Final = 0.3
# Attention without interactions: an additional share, spread over the hours after posting. Tweets
# with more interactions get more hours, because two interactions cannot fill two days.
SPREAD_SHARE: Final = 0.25
SPREAD_HOURS: Final = 2
SPREAD_HOURS_MOST: Final = 48

ACCOUNT_COUNT: Final = 3_000
TWEET_COUNT: Final = 4_800
NAMED: Final = ("demo_author", "protected_author", "other_author")
DEMO, PROTECTED, OTHER = range(len(NAMED))
DEMO_TWEETS, DEMO_RECENT, PROTECTED_TWEETS, OTHER_TWEETS = 60, 6, 6, 12
DEMO_VIDEO_EVERY: Final = 4
RECENT_HOURS: Final = 28
AUTHOR_SKEW: Final = 0.6
VIDEO_UPLOAD_MS: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Cells:
    """Pairs of Tweet and hour, sorted: four arrays of one length.

    `tweet` is the row of the Tweet. `first_s` and `last_s` (Unix s) are the limits of its events.
    `attention` is the expected number of impressions, divided by IMPRESSIONS_PER_INTERACTION.
    """

    tweet: Ints
    first_s: Ints
    last_s: Ints
    attention: Floats


def simulate_around(dataset: Dataset, seed: int) -> pl.DataFrame:
    """Simulate events that belong to the real interactions of `dataset`; return only the new ones.

    A row is the total of a Tweet, hour and type, in the form of `Dataset.events`. `at` lies inside
    the hour, not before the Tweet and not after the last real event. Tweets with a video get video
    views; if no Tweet has one, a random share of them does.
    """
    rng = np.random.default_rng([seed, 0])
    if dataset.events.is_empty() or dataset.tweets.is_empty():
        return EVENTS_SCHEMA.to_frame()
    cells = _find_cells(dataset)
    traits = _draw_traits(dataset.tweets, rng)
    tweets = dataset.tweets.height
    reach = _draw_spread(REACH_SIGMA, tweets, rng=rng)[cells.tweet]
    shown = rng.poisson(cells.attention * reach * IMPRESSIONS_PER_INTERACTION)
    drawn: dict[str, Ints] = {"impressions": shown}
    for ratio in RATIOS:
        taste = _draw_spread(TASTE_SIGMA, tweets, rng=rng)
        if ratio.needs is not None:
            taste = taste * traits[ratio.needs]
        base = drawn[ratio.of]
        found = rng.poisson(base * taste[cells.tweet] * (ratio.per_thousand / 1000))
        # Three impressions cannot lead to four clicks.
        drawn[ratio.type] = np.minimum(found, base)
    paid = traits["promoted"][cells.tweet] * drawn["impressions"] * PROMOTED_PER_IMPRESSION
    ids = dataset.tweets["id"].to_numpy()
    frames = [_emit(cells, ids, counts=drawn[name], name=name, rng=rng) for name in drawn]
    promoted = _emit(cells, ids, counts=rng.poisson(paid), name="impressions", rng=rng)
    frames.append(promoted.with_columns(pl.lit(value=True).alias("promoted")))
    return pl.concat(frames).match_to_schema(EVENTS_SCHEMA)


def _find_cells(dataset: Dataset) -> _Cells:
    """Return the hours of every Tweet with attention: those of real events, and the first ones."""
    tweets = dataset.tweets.select("id", "created_at").with_row_index("row")
    events = dataset.events.select("tweet_id", "at", "count").join(
        tweets, left_on="tweet_id", right_on="id", maintain_order="left"
    )
    created_s = tweets["created_at"].to_numpy()
    last_s = int(dataset.events["at"].to_numpy().max())
    row = events["row"].to_numpy().astype(np.int64)
    count = events["count"].to_numpy()
    size = np.bincount(row, weights=count, minlength=created_s.size).astype(np.float64)
    spread_row, spread_hour, spread = _spread_attention(size, created_s // HOUR_S)
    rows = np.concatenate([row, spread_row])
    hours = np.concatenate([events["at"].to_numpy() // HOUR_S, spread_hour])
    attention = np.concatenate([count.astype(np.float64), spread])
    first_hour = int(hours.min())
    width = int(hours.max()) - first_hour + 1
    keys, cell = np.unique(rows * width + hours - first_hour, return_inverse=True)
    tweet, hour = keys // width, keys % width + first_hour
    first = np.maximum(hour * HOUR_S, created_s[tweet])
    last = np.minimum(hour * HOUR_S + HOUR_S - 1, last_s)
    open_ = first <= last
    return _Cells(
        tweet=tweet[open_],
        first_s=first[open_],
        last_s=last[open_],
        attention=np.bincount(cell, weights=attention)[open_],
    )


def _spread_attention(size: Floats, created_hour: Ints) -> tuple[Ints, Ints, Floats]:
    """Spread a share of every Tweet's size over its first hours; return row, hour and weight."""
    hours = np.ceil(np.sqrt(size) * SPREAD_HOURS).astype(np.int64).clip(max=SPREAD_HOURS_MOST)
    row = np.repeat(np.arange(size.size), hours)
    age = np.arange(row.size) - np.repeat(np.cumsum(hours) - hours, hours)
    weight = _decay(age)
    whole = np.bincount(row, weights=weight, minlength=size.size)
    return row, created_hour[row] + age, weight / whole[row] * size[row] * SPREAD_SHARE


def _decay(age: Ints) -> Floats:
    """Return the fitted decay, not normalised, at ages in whole hours."""
    return np.asarray((age + DECAY_SHIFT) ** -DECAY_POWER * np.exp(-age * DECAY_RATE))


def _rhythm(hour: Ints) -> Floats:
    """Return the fitted rhythm of the day (mean near 1) at UTC hours of the day or since 1970."""
    angle = 2 * np.pi * (hour + 0.5 - RHYTHM_PEAK_HOUR) / DAY_HOURS
    return np.asarray(np.exp(RHYTHM_AMPLITUDE * np.cos(angle)))


def _draw_spread(sigma: float, size: int, *, rng: np.random.Generator) -> Floats:
    """Draw `size` log-normal factors with mean 1."""
    return rng.lognormal(-sigma * sigma / 2, sigma, size)


def _draw_traits(tweets: pl.DataFrame, rng: np.random.Generator) -> dict[str, Flags]:
    """Draw the traits of Tweets: one flag per Tweet, for every trait and for `promoted`."""
    traits = {name: rng.random(tweets.height) < share for name, share in TRAIT_SHARES.items()}
    named = tweets["video_id"].is_not_null().to_numpy()
    if named.any():
        traits["video"] = named
    traits["media"] = traits["media"] | traits["video"]
    traits["promoted"] = rng.random(tweets.height) < PROMOTED_TWEETS_SHARE
    return traits


def _emit(
    cells: _Cells, ids: Ints, *, counts: Ints, name: str, rng: np.random.Generator
) -> pl.DataFrame:
    """Make one event per cell that has a count, at a random second within its limits."""
    kept = np.flatnonzero(counts)
    at = rng.integers(cells.first_s[kept], cells.last_s[kept], endpoint=True)
    return pl.DataFrame(
        {"tweet_id": ids[cells.tweet[kept]], "at": at, "count": counts[kept]}
    ).select(
        "tweet_id", pl.lit(name).alias("type"), "at", "count", pl.lit(value=False).alias("promoted")
    )


def simulate_weeks(ends_at_s: int, seed: int) -> Dataset:
    """Simulate the four weeks up to `ends_at_s` (Unix s): accounts, Tweets, events of all kinds.

    The first three accounts are NAMED. `demo_author` has 60 successful Tweets, some from the last
    28 hours, some with videos. `protected_author` is protected. `other_author` has a Tweet with the
    same video as one of the demo author's.
    """
    if (ends_at_s - SPAN_HOURS * HOUR_S) * 1000 <= SNOWFLAKE_EPOCH_MS:
        raise ValueError("ends_at_s: Tweet ids contain no time before November 2010")
    rng = np.random.default_rng([seed, 1])
    accounts = _make_accounts(rng)
    author = _draw_authors(rng)
    created_ms = _draw_created_ms(author, ends_at_s, rng=rng)
    order = np.argsort(created_ms, kind="stable")
    author, created_ms = author[order], created_ms[order]
    # The row number in the low bits makes the ids of one millisecond distinct.
    ids = ((created_ms - SNOWFLAKE_EPOCH_MS) << SNOWFLAKE_SHIFT) | np.arange(TWEET_COUNT)
    videos = _draw_videos(ids, author, rng=rng)
    tweets = pl.DataFrame(
        {
            "id": ids,
            "author_id": accounts["id"].to_numpy()[author],
            "created_at": created_ms // 1000,
            "video_id": videos,
        }
    )
    # Like Twitter's media keys: 13 stands for a video.
    key = pl.format("13_{}", pl.col("video_id").replace(0, None))
    tweets = tweets.with_columns(video_id=key).match_to_schema(TWEETS_SCHEMA)
    sizes = _draw_sizes(author, rng)
    interactions = _draw_interactions(tweets, sizes, ends_at_s=ends_at_s, rng=rng)
    real = Dataset(accounts=accounts, tweets=tweets, events=interactions)
    events = pl.concat([interactions, simulate_around(real, seed)])
    return Dataset(accounts=accounts, tweets=tweets, events=events)


def simulate_accounts(seed: int) -> pl.DataFrame:
    """Make the named accounts of the weeks of this seed, without Tweets and events."""
    return _make_accounts(np.random.default_rng([seed, 1])).head(len(NAMED))


def _make_accounts(rng: np.random.Generator) -> pl.DataFrame:
    """Make ACCOUNT_COUNT accounts: first the named ones, of which one is protected."""
    # Distinct, because every id is a random step larger than the one before.
    ids = 10_000_000 + np.cumsum(rng.integers(1, 200_000, ACCOUNT_COUNT))
    names = [*NAMED, *(f"user_{number}" for number in ids[len(NAMED) :])]
    protected = np.arange(ACCOUNT_COUNT) == PROTECTED
    return pl.DataFrame({"id": ids, "screen_name": names, "protected": protected}).match_to_schema(
        ACCOUNTS_SCHEMA
    )


def _draw_authors(rng: np.random.Generator) -> Ints:
    """Draw the author of every Tweet as a row of accounts; Tweets of the named ones come first."""
    crowd = np.arange(len(NAMED), ACCOUNT_COUNT)
    weight = np.arange(1, crowd.size + 1, dtype=np.float64) ** -AUTHOR_SKEW
    named = np.repeat([DEMO, PROTECTED, OTHER], [DEMO_TWEETS, PROTECTED_TWEETS, OTHER_TWEETS])
    rest = rng.choice(crowd, TWEET_COUNT - named.size, p=weight / weight.sum())
    return np.concatenate([named, rest])


def _draw_created_ms(author: Ints, ends_at_s: int, *, rng: np.random.Generator) -> Ints:
    """Draw the time of every Tweet (Unix ms) by the rhythm of the day; the demo author's evenly.

    The demo author posts DEMO_RECENT Tweets in the last 28 hours, but none in the last hour, so
    that all of them have replies.
    """
    start_s = ends_at_s - SPAN_HOURS * HOUR_S
    back = np.arange(1, SPAN_HOURS + 1)
    weight = _rhythm((ends_at_s - back * HOUR_S) // HOUR_S)
    offset_s = (SPAN_HOURS - rng.choice(back, author.size, p=weight / weight.sum())) * HOUR_S
    created_ms = (start_s + offset_s) * 1000 + rng.integers(0, HOUR_S * 1000, author.size)
    older = DEMO_TWEETS - DEMO_RECENT
    hours_ago = np.concatenate(
        [
            np.linspace(SPAN_HOURS - 2, RECENT_HOURS + 4, older),
            np.linspace(RECENT_HOURS - 3, 2, DEMO_RECENT),
        ]
    )
    minutes = rng.uniform(0, 1, DEMO_TWEETS)
    created_ms[author == DEMO] = ends_at_s * 1000 - ((hours_ago - minutes) * HOUR_S * 1000).astype(
        np.int64
    )
    return created_ms


def _draw_videos(ids: Ints, author: Ints, *, rng: np.random.Generator) -> Ints:
    """Draw the number in the video id of every Tweet (0: none), from shortly before the Tweet."""
    has_video = rng.random(ids.size) < TRAIT_SHARES["video"]
    demo = np.flatnonzero(author == DEMO)
    other = np.flatnonzero(author == OTHER)
    has_video[demo] = np.arange(demo.size) % DEMO_VIDEO_EVERY == DEMO_VIDEO_EVERY - 1
    videos = np.where(has_video, ids - (VIDEO_UPLOAD_MS << SNOWFLAKE_SHIFT), 0)
    # Two authors share a video, so /totals adds the views of both Tweets.
    first, second = demo[DEMO_VIDEO_EVERY - 1], other[-1]
    videos[[first, second]] = min(ids[first], ids[second]) - (VIDEO_UPLOAD_MS << SNOWFLAKE_SHIFT)
    return videos


def _draw_sizes(author: Ints, rng: np.random.Generator) -> Ints:
    """Draw the number of interactions per Tweet; the demo author's are in the top tenth.

    The quantiles are evenly spaced, not random. The tail is so heavy that a few random draws would
    decide the volume of all weeks.
    """
    n = np.arange(SIZE_FROM, SIZE_MOST + 1, dtype=np.float64)
    law = np.cumsum(n**-SIZE_POWER * np.exp(-n / SIZE_CUTOFF))
    quantiles = (np.arange(TWEET_COUNT) + 0.5) / TWEET_COUNT
    ascending = SIZE_FROM + np.searchsorted(law, quantiles * law[-1])
    tenth = np.arange(TWEET_COUNT - TWEET_COUNT // 10, TWEET_COUNT - DEMO_TWEETS)
    demo = rng.choice(tenth, DEMO_TWEETS, replace=False)
    sizes = np.empty(TWEET_COUNT, dtype=np.int64)
    sizes[author == DEMO] = ascending[demo]
    sizes[author != DEMO] = rng.permutation(np.delete(ascending, demo))
    return sizes


def _draw_interactions(
    tweets: pl.DataFrame, sizes: Ints, *, ends_at_s: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Draw the time and kind of every interaction; return counts per Tweet, hour and kind.

    Interactions after `ends_at_s` are left out.
    """
    created_s = tweets["created_at"].to_numpy()
    start = (created_s // HOUR_S % DAY_HOURS)[:, None] == np.arange(DAY_HOURS)
    age = np.arange(AGE_HOURS)
    row = np.repeat(np.arange(sizes.size), sizes)
    at = np.empty(row.size, dtype=np.int64)
    for hour in range(DAY_HOURS):
        # The distribution of ages depends only on the hour of day at which a Tweet was posted.
        chosen = np.flatnonzero(start[row, hour])
        law = np.cumsum(_decay(age) * _rhythm(hour + age))
        drawn = np.searchsorted(law, rng.random(chosen.size) * law[-1], side="right")
        at[chosen] = created_s[row[chosen]] + drawn * HOUR_S
    at += rng.integers(0, HOUR_S, row.size)
    kind = rng.choice(len(KINDS), row.size, p=KIND_SHARES)
    counted = (
        pl.DataFrame({"row": row, "hour": at // HOUR_S, "kind": kind, "at": at})
        .filter(pl.col("at") <= ends_at_s)
        .group_by("row", "hour", "kind")
        .agg(pl.col("at").min(), pl.len().cast(pl.Int64).alias("count"))
        .sort("row", "hour", "kind")
    )
    return counted.select(
        pl.lit(tweets["id"]).gather(pl.col("row")).alias("tweet_id"),
        pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String).alias("type"),
        "at",
        "count",
        pl.lit(value=False).alias("promoted"),
    ).match_to_schema(EVENTS_SCHEMA)
