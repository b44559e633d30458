"""Write the rows of a query, group by group, so that memory does not grow with the Tweets."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from openengagement_client.checkpoints import (
    Checkpoint,
    delete_checkpoint,
    excluded_path,
    load_checkpoint,
    partial_path,
    query_digest,
    save_checkpoint,
)
from openengagement_client.endpoints import TWEET
from openengagement_client.errors import InvalidQuery
from openengagement_client.merging import add_messages
from openengagement_client.queries import Query
from openengagement_client.results import COLUMNS, Result
from openengagement_client.row_files import RowFile, flush_text, open_rows, open_text, row_format

_MESSAGES_MAX: Final = 10
_LISTS: Final = (
    "unavailable_tweet_ids",
    "forbidden_tweet_ids",
    "unsupported_for_impressions_engagements_tweet_ids",
    "unsupported_for_video_views_tweet_ids",
)


@dataclass(slots=True)
class Summary:
    """The number of rows, and of Tweets without counts or with incomplete ones.

    The lists of ids could be as long as the query, so they are in a file beside the rows:
    `NAME.excluded.ndjson`, which exists only if there is something to list.
    """

    rows: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)


class Writer:
    """Writes the rows of one grouping, and lists the Tweets that have none.

    `checkpoint` tells how much is complete. The writer keeps it up to date.
    """

    def __init__(self, rows: RowFile, path: Path, *, name: str, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self._messages: list[str] = []
        self._rows = rows
        self._excluded = partial_path(excluded_path(path))
        self._name = name

    @property
    def summary(self) -> Summary:
        """The rows and Tweets so far."""
        return Summary(self.checkpoint.rows, dict(self.checkpoint.excluded), self._messages)

    def add(self, part: Result) -> None:
        """Write the part of the result that a group of Tweets has."""
        columns = part.columns(self._name)
        self._rows.add(columns)
        add_messages(self._messages, part.messages)
        del self._messages[_MESSAGES_MAX:]
        lists = {reason: getattr(part, reason) for reason in _LISTS}
        excluded_bytes = self._list(lists)
        # Last, and together: an interruption before this leaves the whole group to be done again.
        self.checkpoint.add(
            lists,
            rows=len(columns["count"]),
            row_bytes=self._rows.flush(),
            excluded_bytes=excluded_bytes,
        )

    def _list(self, lists: Mapping[str, list[str]]) -> int:
        """List the Tweets without counts. Return the bytes of the list."""
        lines = [
            json.dumps({"tweet_id": each, "reason": reason}) + "\n"
            for reason, tweet_ids in lists.items()
            for each in tweet_ids
        ]
        if not lines:
            return self.checkpoint.excluded_bytes
        with self._excluded.open("a", encoding="utf-8") as file:
            file.writelines(lines)
            return flush_text(file)


def begin_writing(
    path: Path, query: Query, *, format: str | None, resume: bool
) -> tuple[Query, Checkpoint]:
    """Return the query to run for a file, and the checkpoint where it begins.

    Raises:
        InvalidQuery: there is no such format, or nothing to go on with.
    """
    chosen = row_format(path, format)
    if resume:
        checkpoint = load_checkpoint(path, query, format=chosen)
        return replace(query, window=checkpoint.window), checkpoint
    return query, Checkpoint(query_digest(query), chosen)


@contextmanager
def open_writer(
    path: Path, query: Query, *, name: str | None, checkpoint: Checkpoint
) -> Iterator[Writer]:
    """Open a writer. The files get their names when everything is written.

    If it is interrupted, the checkpoint is saved, unless nothing is complete.

    Raises:
        InvalidQuery: the grouping has no `tweet.id`.
    """
    name = next(iter(query.groupings)) if name is None else name
    group_by = query.groupings.get(name, ())
    if TWEET not in group_by:
        raise InvalidQuery(f"{name!r} needs {TWEET} to be written part by part")
    excluded = excluded_path(path)
    partly_excluded = partial_path(excluded)
    checkpoint.set_window(query.window)
    if checkpoint.groups == 0:
        delete_checkpoint(path)
    columns = [*(COLUMNS[each] for each in group_by), "count"]
    at_byte = checkpoint.row_bytes
    with open_rows(path, columns, format=checkpoint.format, at_byte=at_byte) as rows:
        open_text(partly_excluded, checkpoint.excluded_bytes).close()
        writer = Writer(rows, path, name=name, checkpoint=checkpoint)
        with _checkpoint_saved(path, checkpoint):
            yield writer
    if checkpoint.excluded:
        partly_excluded.replace(excluded)
    else:
        partly_excluded.unlink()
        excluded.unlink(missing_ok=True)


@contextmanager
def _checkpoint_saved(path: Path, checkpoint: Checkpoint) -> Iterator[None]:
    """Save the checkpoint if the query is interrupted, and delete it at its end."""
    try:
        yield
    except BaseException:
        if checkpoint.row_bytes:
            save_checkpoint(path, checkpoint)
        raise
    delete_checkpoint(path)
