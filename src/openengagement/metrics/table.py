"""The table of all metrics.

`docs/metrics.md` lists them; a test compares the two. The values of `endpoint` are the paths of the
route table with names of parameters in braces, the beginnings of the paths of pages, and `other`.
"""

from typing import Final

from openengagement.metrics.metric import Counter, Gauge, Histogram

_REQUEST_BOUNDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_WORK_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# Requests
REQUESTS: Final = Counter(
    "http_requests_total",
    "Answered requests. code is the x-error-code of a refusal.",
    *("endpoint", "status", "code"),
)
REQUEST_SECONDS: Final = Histogram(
    "http_request_duration_seconds",
    "Time from the head of a request to the end of its answer, in the worker.",
    "endpoint",
    bounds=_REQUEST_BOUNDS,
)
IN_FLIGHT: Final = Gauge("http_requests_in_flight", "Requests that workers are answering.")
SIGN_INS: Final = Counter(
    "sign_ins_total", "Sign-ins of people, and refused attempts.", "method", "result"
)

# Batches, as workers receive them
BATCHES: Final = Counter(
    "batches_total",
    "Batches of the platform. An error is a batch that may be sent again.",
    *("kind", "result"),
)
RECORDS: Final = Counter(
    "records_total", "Lines of batches, without repeats.", "kind", "result"
)
REJECTED: Final = Counter(
    "records_rejected_total", "Rejected lines of batches, by reason.", "kind", "reason"
)
BATCH_BYTES: Final = Counter("batch_bytes_total", "Bodies of batches, as sent, in bytes.", "kind")
BATCH_SECONDS: Final = Histogram(
    "batch_duration_seconds",
    "Time from the end of a batch's body to its commit.",
    "kind",
    bounds=_WORK_BOUNDS,
)
BATCHES_IN_FLIGHT: Final = Gauge(
    "batches_in_flight", "Batches that workers are reading or that wait for their commit."
)

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
COMMITS: Final = Counter("commits_total", "Commits of batches of events.", "result")
COMMIT_SECONDS: Final = Histogram(
    "commit_duration_seconds", "Time that a commit takes.", bounds=_WORK_BOUNDS
)
LAST_COMMIT: Final = Gauge(
    "last_commit_timestamp_seconds", "When the last commit ended, in Unix time.", largest=True
)

# The embedded store
MERGE_SECONDS: Final = Histogram(
    "merge_duration_seconds", "Time that a flush or a compaction takes.", "stage",
    bounds=_WORK_BOUNDS,
)
MERGED_ROWS: Final = Counter("merged_rows_total", "Rows that merges have read.", "stage")
MERGE_FAILURES: Final = Counter("merge_failures_total", "Failed merges; see `merge_failed`.")

# Measured every 15 s by one worker
ITEMS: Final = Gauge(
    "items", "What the stores and the registry hold: the figures of `status`.", "item", largest=True
)
DATA_BYTES: Final = Gauge("data_bytes", "Disk usage of the data folder.", largest=True)
DISK_FREE_BYTES: Final = Gauge(
    "disk_free_bytes", "Free space for the data folder.", largest=True
)
DISK_BYTES: Final = Gauge("disk_bytes", "Size of the disk of the data folder.", largest=True)
LIMIT_ENTRIES: Final = Gauge(
    "limit_entries", "Used nonces and rate windows in the data folder.", largest=True
)
MEASURED: Final = Gauge(
    "measured_timestamp_seconds", "When these figures were measured, in Unix time.", largest=True
)

# Every worker
FAULT: Final = Gauge(
    "fault", "1 if this part of the server fails, by the checks of `/readyz`.", "part", largest=True
)
CACHED: Final = Gauge("cache_entries", "Entries of the caches of all workers.", "cache")
MISSES: Final = Counter("cache_misses_total", "Entries that were not in the cache.", "cache")

# Every process
LOG_LINES: Final = Counter(
    "log_lines_total", "Lines of the log, without the access log.", "process", "level"
)
STARTS: Final = Counter("process_starts_total", "Starts of processes.", "process")
PROCESSES: Final = Gauge("processes", "Processes that run.", "process")
RESIDENT_BYTES: Final = Gauge(
    "process_resident_memory_bytes", "Resident memory of these processes.", "process"
)
CPU_SECONDS: Final = Counter(
    "process_cpu_seconds_total", "User and system time of these processes.", "process"
)
OPEN_FILES: Final = Gauge("process_open_fds", "Open files of these processes.", "process")
WORKERS: Final = Gauge("workers", "Workers that the server was started with.")
STARTED: Final = Gauge("start_timestamp_seconds", "When the server started, in Unix time.")
BUILD: Final = Gauge("build_info", "1, with the version of the server.", "version")
