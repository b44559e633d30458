"""The sizes of measurements: real ones, and small ones to test the benchmarks themselves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Events, counters, rounds and seconds; see FULL for what they mean."""

    rounds: int
    few_rounds: int
    stream_events: int
    early_events: int
    window_events: int
    slice_s: float
    http_s: float
    pace_s: float
    file_pace_s: float
    while_files: int
    before_files: int
    small_tweets: int
    large_tweets: int
    tweets_of_video: int
    sample_s: float
    peer_files: int
    backlog_events: int
    column_millions: int
    large_column_millions: int
    cluster_tweets: int
    cluster_s: float
    client_tweets: int
    client_memory_tweets: int
    client_events: int


FULL = Sizes(
    rounds=5,
    few_rounds=3,
    stream_events=100_000_000,  # through `load events`; HTTP takes of it what it can in its time
    early_events=1_000_000,  # what a store holds when it counts as new
    window_events=10_000_000,  # over which a new store and a full one are compared
    slice_s=10.0,  # rates over time are those of slices so long
    http_s=60.0,
    pace_s=20.0,  # of reads at a steady rate
    file_pace_s=9.0,  # the same while files are loaded, which does not last longer
    while_files=76,  # loaded while reads are timed, 19 million events
    before_files=20,  # loaded before anything is read
    small_tweets=10_000,  # 100 counters each: 1 million
    large_tweets=1_000_000,  # 100 million
    tweets_of_video=10_000,
    sample_s=1.5,  # how long one run of requests should take
    peer_files=20,  # each of stream.BATCH_EVENTS, into every ingest peer
    backlog_events=50_000_000,  # that wait in an event log
    column_millions=10,  # millions of events in each format
    large_column_millions=100,
    cluster_tweets=10_000_000,
    cluster_s=10.0,
    client_tweets=100_000,  # through /totals, 400 requests
    client_memory_tweets=400_000,
    client_events=10_000_000,
)
QUICK = Sizes(
    rounds=2,
    few_rounds=1,
    stream_events=5_000_000,
    early_events=250_000,
    window_events=500_000,
    slice_s=1.0,
    http_s=3.0,
    pace_s=1.5,
    file_pace_s=1.0,
    while_files=9,
    before_files=1,
    small_tweets=2_000,
    large_tweets=4_000,
    tweets_of_video=1_000,
    sample_s=0.3,
    peer_files=2,
    backlog_events=1_000_000,
    column_millions=1,
    large_column_millions=2,
    cluster_tweets=30_000,
    cluster_s=1.0,
    client_tweets=10_000,
    client_memory_tweets=20_000,
    client_events=200_000,
)
