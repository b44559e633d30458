"""The table of all metrics.

`docs/metrics.md` lists them; a test compares the two.
"""

from typing import Final

from openengagement.metrics.metric import Counter, Gauge, Histogram

# Values of labels. () stands for those of a table elsewhere.
ENDPOINTS: Final[tuple[str, ...]] = ()  # `Routes.name`
PROCESS_KINDS: Final = ("supervisor", "worker", "counting", "consumer")
KINDS: Final = ("events", "tweets", "accounts")  # of batches
REASONS: Final = (  # `ingest.rows.DropReason`
    *("malformed", "missing_field", "invalid_id", "unknown_type", "invalid_time", "in_future"),
    *("invalid_count", "invalid_flag", "invalid_name", "name_taken"),
    *("invalid_text", "invalid_url"),
)
SIGN_IN_RESULTS: Final = (
    *("signed_in", "wrong_name_or_password", "wrong_code", "too_many_attempts", "failed"),
)
PARTS: Final = (  # `api.health`
    *(
        "store",
        "registry",
        "keys",
        "limits",
        "counting",
        "log",
        "disk",
        "clock",
        "damage",
        "checks",
    ),
)
STAGES: Final = ("flush", "compaction")

_REQUEST_BOUNDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_WORK_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# Requests, in workers
REQUESTS: Final = Counter(
    "http_requests_total",
    "Answered requests. `code` is the `x-error-code` of a refusal.",
    endpoint=ENDPOINTS,
    status=(),
    code=(),
)
REQUEST_SECONDS: Final = Histogram(
    "http_request_duration_seconds",
    "Time from the head of a request to the end of its answer, in the worker.",
    bounds=_REQUEST_BOUNDS,
    endpoint=ENDPOINTS,
)
IN_FLIGHT: Final = Gauge("http_requests_in_flight", "Requests that workers are answering.")
SIGN_INS: Final = Counter(
    "sign_ins_total",
    "Sign-ins of people, and refused attempts.",
    method=("password", "openid"),
    result=SIGN_IN_RESULTS,
)

# Batches, as workers receive them
BATCHES: Final = Counter(
    "batches_total",
    "Batches of the platform. `error` means that a batch may be sent again.",
    kind=KINDS,
    result=("applied", "repeat", "refused", "error"),
)
RECORDS: Final = Counter(
    "records_total",
    "Lines of applied batches.",
    kind=KINDS,
    result=("accepted", "rejected"),
)
REJECTED: Final = Counter(
    "records_rejected_total",
    "Rejected lines of applied batches, by reason.",
    kind=KINDS,
    reason=REASONS,
)
BATCH_BYTES: Final = Counter("batch_bytes_total", "Size of applied batches as sent.", kind=KINDS)
BATCH_SECONDS: Final = Histogram(
    "batch_duration_seconds",
    "Time from the end of a batch's body to its commit.",
    bounds=_WORK_BOUNDS,
    kind=KINDS,
)
BATCHES_IN_FLIGHT: Final = Gauge(
    "batches_in_flight", "Batches that workers receive, or that wait for their commit."
)

# Notifications
DELIVERY_ATTEMPTS: Final = Counter(
    "delivery_attempts_total",
    "Attempts to deliver a notification by webhook or mail. After `failed` there is no other one.",
    result=("delivered", "retried", "failed"),
)

# The event log of `--intake log`, in the counting process
PUBLISHED: Final = Counter(
    "log_published_total",
    "Batches published to the event log. It had a `repeat` before. After `unknown`, it may have "
    "the batch, which got 503.",
    result=("durable", "repeat", "too_large", "unknown"),
)
PUBLISHED_BYTES: Final = Counter("log_published_bytes_total", "Size of published messages.")
PUBLISH_SECONDS: Final = Histogram(
    "log_publish_duration_seconds",
    "Time until the event log has acknowledged a batch.",
    bounds=_WORK_BOUNDS,
)
PUBLISHING: Final = Gauge("log_publishing", "Batches that wait for the event log.")

# Commits, in the counting process
WAITING: Final = Gauge("batches_waiting", "Parsed batches of events that wait for a commit.")
OLDEST_WAITING: Final = Gauge(
    "oldest_batch_timestamp_seconds",
    "When the oldest batch of the commit under way was queued, in Unix time; 0 without one.",
    largest=True,
)
COMMIT_WAIT: Final = Histogram(
    "commit_wait_seconds", "Time that a batch waits for its commit to begin.", bounds=_WORK_BOUNDS
)
COMMITS: Final = Counter(
    "commits_total",
    "Commits of batches of events. After `unknown`, the batches may have been counted.",
    result=("committed", "failed", "unknown"),
)
COMMIT_SECONDS: Final = Histogram(
    "commit_duration_seconds", "Time that a commit takes.", bounds=_WORK_BOUNDS
)
LAST_COMMIT: Final = Gauge(
    "last_commit_timestamp_seconds", "When the last commit ended, in Unix time.", largest=True
)

# `consume`, on an address of its own
CONSUMED_MESSAGES: Final = Counter(
    "consumer_messages_total", "Messages of the event log that are durable in the store."
)
CONSUMED_EVENTS: Final = Counter("consumer_events_total", "Events that were counted from the log.")
CONSUMED_BATCHES: Final = Counter(
    "consumer_batches_total",
    "Batches that were committed. A `repeat` was counted before, by its idempotency key. After a "
    "`conflict`, another consumer has counted the messages.",
    result=("counted", "repeat", "conflict"),
)
DEAD_LETTERS: Final = Counter(
    "consumer_dead_letters_total", "Lines and messages that could not be counted."
)
RESTARTS: Final = Counter(
    "consumer_restarts_total", "Times that a source was read again from the store's position."
)
LAG: Final = Gauge("consumer_lag_messages", "Messages in the log that were not read yet.")
NEWEST: Final = Gauge(
    "consumer_newest_timestamp_seconds",
    "When the log received the newest message that was counted, in Unix time.",
    largest=True,
)

# The embedded store
MERGE_SECONDS: Final = Histogram(
    "merge_duration_seconds",
    "Time that a flush or a compaction takes.",
    bounds=_WORK_BOUNDS,
    stage=STAGES,
)
MERGED_ROWS: Final = Counter("merged_rows_total", "Rows that merges have read.", stage=STAGES)
MERGE_FAILURES: Final = Counter("merge_failures_total", "Failed merges; the log has the reason.")

# Measured by one worker of a server
ITEMS: Final = Gauge(
    "items",
    "The figures of `status` about the registry and the stores; `item` is their name.",
    largest=True,
    item=(),
)
DATA_BYTES: Final = Gauge("data_bytes", "Disk usage of the data folder.", largest=True)
DISK_FREE_BYTES: Final = Gauge(
    "disk_free_bytes", "Free space on the disk of the data folder.", largest=True
)
DISK_BYTES: Final = Gauge("disk_bytes", "Size of the disk of the data folder.", largest=True)
LIMIT_ENTRIES: Final = Gauge(
    "limit_entries", "Used nonces and rate limit windows in the data folder.", largest=True
)
LAST_BACKUP: Final = Gauge(
    "last_backup_timestamp_seconds",
    "When the last backup of the data folder ended, in Unix time; 0 without one.",
    largest=True,
)
MEASURED: Final = Gauge(
    "measured_timestamp_seconds",
    "When the last six were measured, in Unix time.",
    largest=True,
)

# Every worker
FAULT: Final = Gauge(
    "fault", "1 if a part of the server fails a check of `/readyz`.", largest=True, part=PARTS
)
CACHED: Final = Gauge(
    "cache_entries",
    "Entries of the caches of all workers.",
    cache=("credentials", "tweets", "totals"),
)
MISSES: Final = Counter(
    "cache_misses_total",
    "Reads of entries that were not in the cache.",
    cache=("credentials", "tweets", "totals"),
)

# Every process
LOG_LINES: Final = Counter(
    "log_lines_total",
    "Lines of the log, without the access log.",
    process=PROCESS_KINDS,
    level=("info", "warning", "error"),
)
STARTS: Final = Counter("process_starts_total", "Starts of processes.", process=PROCESS_KINDS)
PROCESSES: Final = Gauge("processes", "Processes that run.", process=PROCESS_KINDS)
RESIDENT_BYTES: Final = Gauge(
    "process_resident_memory_bytes", "Resident memory of the processes.", process=PROCESS_KINDS
)
CPU_SECONDS: Final = Counter(
    "process_cpu_seconds_total", "User and system time of the processes.", process=PROCESS_KINDS
)
OPEN_FILES: Final = Gauge("process_open_fds", "Open files of the processes.", process=PROCESS_KINDS)
WORKERS: Final = Gauge("workers", "Workers that the server was started with.")
STARTED: Final = Gauge("start_timestamp_seconds", "When the server started, in Unix time.")
BUILD: Final = Gauge("build_info", "1, with the version of the server.", version=())
