"""The managers' page of the system: ingestion, store, disk, and what needs a look."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response

from openengagement.data_folder import DataFolder, DiskUsage, measure_disk
from openengagement.engagement.types import DAY_S
from openengagement.language.current import current, gettext_noop, ngettext
from openengagement.language.current import gettext as _
from openengagement.metrics import table
from openengagement.metrics.exposition import add_up
from openengagement.metrics.metric import Metric, is_attached, read_slots
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer
from openengagement.registry.platform_keys import PlatformKey

Values = Mapping[str, Mapping[str, float]]  # of `add_up`
_SAMPLES: Final = 60  # five minutes, at one sample every five seconds
_EVENTS: Final = 'kind="events"'
_ACCEPTED: Final = f'{_EVENTS},result="accepted"'
_FREE_SHARE_MIN: Final = 0.1  # of the disk
_EXPIRING_S: Final = 14 * DAY_S
# Reason of a rejected line (`ingest.rows.DropReason`) -> what the sender should look at.
_HINTS: Final[Mapping[str, str]] = {
    "malformed": gettext_noop("The line cannot be read. Check the format of the batch."),
    "missing_field": gettext_noop("A required field is missing."),
    "invalid_id": gettext_noop("An id is not a positive whole number."),
    "unknown_type": gettext_noop(
        "No metric has this type. Map the type of your platform to one of the list."
    ),
    "invalid_time": gettext_noop("The time cannot be read. Write it as 2026-11-22T10:15:00Z."),
    "in_future": gettext_noop("The time lies in the future. Check the clock of the sender."),
    "invalid_count": gettext_noop("The count is no whole number, or too large."),
    "invalid_flag": gettext_noop("A field that is true or false has another value."),
    "invalid_name": gettext_noop("The screen name has characters that no name may have."),
    "name_taken": gettext_noop("Another account has the screen name."),
    "invalid_text": gettext_noop("The text is too long, or has characters that no text may have."),
    "invalid_url": gettext_noop("The URL cannot be used."),
}


# Names of `openengagement status` -> what the page calls them. A new name is shown as it is.
_ITEMS: Final[Mapping[str, str]] = {
    "accounts": gettext_noop("Accounts"),
    "apps": gettext_noop("Apps"),
    "access_tokens": gettext_noop("Access tokens"),
    "sessions": gettext_noop("Sessions"),
    "platform_keys": gettext_noop("Platform keys"),
    "webhooks": gettext_noop("Webhooks"),
    "deliveries_waiting": gettext_noop("Waiting deliveries"),
    "deliveries_failed": gettext_noop("Failed deliveries"),
    "apps_waiting": gettext_noop("Waiting apps"),
    "apps_enabled": gettext_noop("Enabled apps"),
    "apps_disabled": gettext_noop("Disabled apps"),
    "apps_suspended": gettext_noop("Suspended apps"),
    "tweets": gettext_noop("{Tweets}"),
    "counter_rows": gettext_noop("Counters"),
    "segment_files": gettext_noop("Segment files"),
    "unflushed_segments": gettext_noop("Unflushed segments"),
    "commits_under_way": gettext_noop("Commits under way"),
    "commits_set_aside": gettext_noop("Commits set aside"),
}


class IngestionRate:
    """Samples the events that all processes have accepted. A chore of each worker."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)

    def sample(self) -> None:
        """Note how many events were accepted until now, if metrics are on."""
        if is_attached():
            accepted = add_up(read_slots())[table.RECORDS.name].get(_ACCEPTED, 0.0)
            self._samples.append((self._now_s(), accepted))

    def per_second(self) -> float | None:
        """Return the events a second over the samples; None if there are too few."""
        if len(self._samples) < 2:  # noqa: PLR2004
            return None
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rejected lines of events for one reason."""

    reason: str
    count: int
    hint: str


class SystemPage:
    """The handler of `/manage/system`."""

    def __init__(
        self,
        renderer: PageRenderer,
        data: Path,
        *,
        folder: DataFolder,
        rate: IngestionRate,
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._data = data
        self._folder = folder
        self._rate = rate
        self._now_s = now_s

    def show(self, request: PageRequest) -> Response:
        """`GET /manage/system`."""
        values = add_up(read_slots()) if is_attached() else None
        disk, registry = measure_disk(self._data), self._folder.registry
        context = {
            "title": _("System"),
            "scripts": ("page.js",),
            "ingestion": describe_ingestion(values, self._rate.per_second()) if values else None,
            "items": self._folder.count_items(),
            "item_names": _ITEMS,
            "disk": disk,
            "notices": [
                *list_faults(values or {}),
                *list_disk_notices(disk),
                *list_key_notices(registry.platform_keys.list_platform_keys(), self._now_s()),
                *list_erasure_notices(registry.removal.list_unfinished()),
            ],
        }
        return self._renderer.render(request, "manage_system", context=context)


def describe_ingestion(values: Values, per_second: float | None) -> dict[str, Any]:
    """Describe what was counted since the server started. `values` are those of `add_up`."""
    reasons = {
        labels.partition('reason="')[2].rstrip('"'): int(count)
        for labels, count in values[table.REJECTED.name].items()
        if labels.startswith(_EVENTS) and count
    }
    return {
        "accepted": _count(values, table.RECORDS, labels=_ACCEPTED),
        "rejected": _count(values, table.RECORDS, labels=f'{_EVENTS},result="rejected"'),
        "batches": _count(values, table.BATCHES, labels=f'{_EVENTS},result="applied"'),
        "refused_batches": _count(values, table.BATCHES, labels=f'{_EVENTS},result="refused"'),
        "waiting": _count(values, table.WAITING, labels=""),
        "last_commit_s": _count(values, table.LAST_COMMIT, labels="") or None,
        "started_s": _count(values, table.STARTED, labels="") or None,
        "per_second": per_second,
        "reasons": [
            Rejected(reason, count, _(_HINTS[reason]) if reason in _HINTS else "")
            for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        ],
    }


def _count(values: Values, metric: Metric, *, labels: str) -> int:
    return int(values[metric.name].get(labels, 0))


def list_faults(values: Values) -> Iterator[str]:
    """Yield a sentence for each part of the server that fails a check."""
    for labels, failing in values.get(table.FAULT.name, {}).items():
        if failing:
            part = labels.partition('"')[2].rstrip('"')
            yield _(
                "The check of the %(part)s fails. /readyz and the log have the reason.", part=part
            )


def list_disk_notices(disk: DiskUsage) -> Iterator[str]:
    """Yield a sentence if little of the disk is free."""
    if disk.free_bytes < disk.disk_bytes * _FREE_SHARE_MIN:
        used = 1 - disk.free_bytes / disk.disk_bytes
        yield _(
            "The disk of the data folder is %(share)s full. Events are refused when it is full.",
            share=current().formats.percent(used, 0),
        )


def list_key_notices(keys: Sequence[PlatformKey], now_s: float) -> Iterator[str]:
    """Yield a sentence for each platform key that has expired, or will within two weeks."""
    for key in keys:
        if key.is_expired(now_s):
            text = gettext_noop("The platform key %(name)s (%(id)s) has expired. Revoke it.")
            yield _(text, name=key.name, id=key.id)
        elif key.is_expired(now_s + _EXPIRING_S):
            text = gettext_noop("The platform key %(name)s (%(id)s) expires within two weeks.")
            yield _(text, name=key.name, id=key.id)


def list_erasure_notices(unfinished: Sequence[int]) -> Iterator[str]:
    """Yield a sentence if erasures of accounts have not finished."""
    if unfinished:
        yield ngettext(
            "%(count)s erased account still has {tweets}. Repeat its erasure with: openengagement "
            "account remove ID",
            "%(count)s erased accounts still have {tweets}. Repeat each erasure with: "
            "openengagement account remove ID",
            len(unfinished),
        )
