"""The tables: Tweets, one row of counters per Tweet, and one per Tweet and hour."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

TYPES = (
    "impressions",
    "engagements",
    "favorites",
    "retweets",
    "replies",
    "quote_tweets",
    "video_views",
    "media_views",
    "media_engagements",
    "url_clicks",
    "hashtag_clicks",
    "detail_expands",
    "permalink_clicks",
    "app_install_attempts",
    "app_opens",
    "email_tweet",
    "user_follows",
    "user_profile_clicks",
)
metadata = MetaData()
tweets = Table(
    "tweets",
    metadata,
    Column("tweet_id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
)
totals = Table(
    "totals",
    metadata,
    Column("tweet_id", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in TYPES),
)
hours = Table(
    "hours",
    metadata,
    Column("tweet_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in TYPES),
)
tokens = Table(
    "tokens",
    metadata,
    Column("consumer_key", String, primary_key=True),
    Column("access_token", String, primary_key=True),
    Column("consumer_secret", String, nullable=False),
    Column("access_token_secret", String, nullable=False),
    Column("user_id", BigInteger, nullable=False),
)
