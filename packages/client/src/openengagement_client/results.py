"""The result of a query: the wire's nested objects, typed rows, and tables of other libraries."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from openengagement_client.endpoints import DAY, HOUR, TWEET, TYPE
from openengagement_client.errors import UnexpectedAnswer
from openengagement_client.merging import merge_responses
from openengagement_client.queries import GroupBy
from openengagement_client.responses import DataResponse, Tree

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

# The columns of the dimensions, and the type of their values.
COLUMNS = {TWEET: "tweet_id", TYPE: "engagement_type", DAY: "day", HOUR: "hour"}


@dataclass(frozen=True, slots=True)
class Row:
    """One count. Dimensions that the grouping sums over are None. `day` and `hour` are UTC."""

    tweet_id: str | None
    engagement_type: str | None
    day: date | None
    hour: int | None
    count: int


class Result:
    """The counts of a query, and every Tweet that has none.

    `result["name"]` is the object of a grouping exactly as the wire has it, with counts as text.
    Iterating yields the rows of the first grouping.

    Attributes:
        groupings: the objects of all groupings by name.
        group_by: the dimensions of each grouping by name.
        start, end: the window as the server wrote it, in UTC; None on `/totals`.
        messages: the server's texts in partial answers.
        unavailable_tweet_ids: unknown, deleted or protected.
        forbidden_tweet_ids: of another author than the access token's user.
        unsupported_for_impressions_engagements_tweet_ids: too old for these; their counts are 0.
        unsupported_for_video_views_tweet_ids: too old for video views; their counts are 0.
    """

    def __init__(self, response: DataResponse, group_by: Mapping[str, GroupBy]) -> None:
        self.groupings: dict[str, Tree] = response.groupings
        self.group_by = dict(group_by)
        self.start = response.start
        self.end = response.end
        self.messages = response.messages
        self.unavailable_tweet_ids = response.unavailable
        self.forbidden_tweet_ids = response.forbidden
        self.unsupported_for_impressions_engagements_tweet_ids = response.unsupported_totals
        self.unsupported_for_video_views_tweet_ids = response.unsupported_video

    @classmethod
    def merged(cls, responses: Iterable[DataResponse], group_by: Mapping[str, GroupBy]) -> Self:
        """Build the result of several responses. They are used up.

        Raises:
            UnexpectedAnswer: the objects of the responses cannot be added up.
        """
        return cls(merge_responses(responses), group_by)

    def __getitem__(self, name: str) -> Tree:
        return self.groupings[name]

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    def __repr__(self) -> str:
        return f"<Result {', '.join(map(repr, self.groupings))} {self.start or ''}>"

    def rows(self, name: str | None = None) -> Iterator[Row]:
        """Yield the counts of a grouping, by default of the first, in the order of the answer."""
        return (Row(*values) for values in self._values(self._name(name)))

    def columns(self, name: str | None = None) -> dict[str, list[Any]]:
        """Return the counts of a grouping by column: its dimensions, then `count`."""
        name = self._name(name)
        indices = {COLUMNS[each]: _INDICES[each] for each in self.group_by[name]}
        columns = list(zip(*self._values(name), strict=True)) or [()] * 5
        return {each: list(columns[index]) for each, index in {**indices, "count": 4}.items()}

    def to_arrow(self, name: str | None = None) -> "pa.Table":
        """Return a grouping as an Arrow table. Needs pyarrow."""
        import pyarrow as pa  # noqa: PLC0415 - optional

        types = arrow_types()
        columns = self.columns(name)
        return pa.table({each: pa.array(columns[each], types[each]) for each in columns})

    def to_parquet(self, path: Path | str, name: str | None = None) -> None:
        """Write a grouping as a Parquet file. Needs pyarrow."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - optional

        pq.write_table(self.to_arrow(name), path, compression="zstd")

    def to_polars(self, name: str | None = None) -> "pl.DataFrame":
        """Return a grouping as a Polars frame. Needs polars."""
        import polars as pl  # noqa: PLC0415 - optional

        types = {
            "tweet_id": pl.String(),
            "engagement_type": pl.String(),
            "day": pl.Date(),
            "hour": pl.Int8(),
            "count": pl.Int64(),
        }
        columns = self.columns(name)
        return pl.DataFrame(columns, schema={each: types[each] for each in columns})

    def to_pandas(self, name: str | None = None) -> "pd.DataFrame":
        """Return a grouping as a pandas frame. Needs pandas. `day` is a timestamp."""
        import pandas as pd  # noqa: PLC0415 - optional

        frame = pd.DataFrame(self.columns(name)).astype({"count": "int64"})
        if "day" in frame:
            frame["day"] = pd.to_datetime(frame["day"])
        return frame.astype({"hour": "int8"}) if "hour" in frame else frame

    def _values(self, name: str) -> Iterator[tuple[Any, ...]]:
        indices = tuple(_INDICES[each] for each in self.group_by[name])
        try:
            yield from _walk(self.groupings[name], indices, row=[None, None, None, None])
        except (AttributeError, TypeError, ValueError) as error:
            raise UnexpectedAnswer(f"{name!r} is not a grouping of counts: {error}") from None

    def _name(self, name: str | None) -> str:
        return next(iter(self.groupings)) if name is None else name


# The index of each dimension in a `Row`, and how its keys are read.
_INDICES: Final = {TWEET: 0, TYPE: 1, DAY: 2, HOUR: 3}
_READERS: Final = (str, str, date.fromisoformat, int)


def _walk(tree: Tree, indices: tuple[int, ...], *, row: list[Any]) -> Iterator[tuple[Any, ...]]:
    index, rest = indices[0], indices[1:]
    for key, value in tree.items():
        row[index] = _READERS[index](key)
        if rest:
            yield from _walk(value, rest, row=row)
        else:
            yield *row, int(value)


def arrow_types() -> "dict[str, pa.DataType]":
    """Return the Arrow type of every column. Needs pyarrow."""
    import pyarrow as pa  # noqa: PLC0415 - optional

    return {
        "tweet_id": pa.string(),
        "engagement_type": pa.string(),
        "day": pa.date32(),
        "hour": pa.int8(),
        "count": pa.int64(),
    }
