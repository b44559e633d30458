"""Remember how far an interrupted query came, so that the same query can go on there.

The checkpoint is a file beside the partial file: the groups of Tweets that are complete, the bytes
of the files that hold them, and the window, since "until now" was resolved when the query began.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from openengagement_client.endpoints import LAST_28_HOURS
from openengagement_client.errors import InvalidQuery
from openengagement_client.queries import Query
from openengagement_client.windows import Window, format_time, parse_time


@dataclass(slots=True)
class Checkpoint:
    """The end of the finished part. `query` is a digest of everything but the Tweets."""

    query: str
    format: str
    start: str | None = None
    end: str | None = None
    groups: int = 0
    rows: int = 0
    row_bytes: int = 0
    excluded_bytes: int = 0
    excluded: dict[str, int] = field(default_factory=dict)

    @property
    def window(self) -> Window:
        """The window of the query, with the ends that were resolved when it began."""
        return Window(parse_time(self.start), parse_time(self.end))

    def set_window(self, window: Window) -> None:
        """Remember the window."""
        self.start = format_time(window.start) if window.start else None
        self.end = format_time(window.end) if window.end else None

    def add(
        self, lists: Mapping[str, list[str]], *, rows: int, row_bytes: int, excluded_bytes: int
    ) -> None:
        """Add a group that is complete. `lists` are its Tweets without counts, by reason."""
        for reason, tweet_ids in lists.items():
            if tweet_ids:
                self.excluded[reason] = self.excluded.get(reason, 0) + len(tweet_ids)
        self.rows, self.groups = self.rows + rows, self.groups + 1
        self.row_bytes, self.excluded_bytes = row_bytes, excluded_bytes


def partial_path(path: Path) -> Path:
    """Return the name of a file while it is written."""
    return path.with_name(f"{path.name}.partial")


def excluded_path(path: Path) -> Path:
    """Return the file that lists the Tweets without counts."""
    return path.with_name(f"{path.name}.excluded.ndjson")


def query_digest(query: Query) -> str:
    """Return a digest of the query: endpoint, types, groupings and window, without the Tweets."""
    groupings = {name: list(group_by) for name, group_by in query.groupings.items()}
    described = [query.endpoint.path, query.engagement_types, groupings, query.window.fields]
    return sha256(json.dumps(described).encode()).hexdigest()


def checkpoint_path(path: Path) -> Path:
    """Return the file that remembers where the query for a file stopped."""
    return path.with_name(f"{path.name}.resume.json")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Remember where the query for a file stopped."""
    checkpoint_path(path).write_text(json.dumps(asdict(checkpoint)), encoding="utf-8")


def delete_checkpoint(path: Path) -> None:
    """Forget where an earlier query for this file stopped."""
    checkpoint_path(path).unlink(missing_ok=True)


def load_checkpoint(path: Path, query: Query, *, format: str) -> Checkpoint:
    """Return where this query stopped.

    Raises:
        InvalidQuery: no query for this file was interrupted, or it was another one, or its window
            moves on with time.
    """
    if query.endpoint is LAST_28_HOURS:
        raise InvalidQuery("the last 28 hours have moved on: ask again from the beginning")
    found = None
    with suppress(OSError, ValueError, TypeError):
        found = Checkpoint(**json.loads(checkpoint_path(path).read_text(encoding="utf-8")))
    if found is None:
        raise InvalidQuery(f"nothing is known of an interrupted query for {path}")
    if (found.query, found.format) != (query_digest(query), format):
        raise InvalidQuery(f"the interrupted query for {path} was another one")
    wanted = {path: found.row_bytes, excluded_path(path): found.excluded_bytes}
    for file, least in wanted.items():
        partial = partial_path(file)
        if (partial.stat().st_size if partial.exists() else 0) < least:
            raise InvalidQuery(f"{partial} is not what the interrupted query wrote")
    return found
