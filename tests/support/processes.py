"""The processes of this machine, from /proc."""

from collections.abc import Iterator
from pathlib import Path


def running() -> Iterator[tuple[int, int, int]]:
    """Yield id, parent and session of every process that is not a zombie."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            yield int(path.parent.name), int(fields[1]), int(fields[3])


def descendants(pid: int) -> list[int]:
    """Return the ids of the children of a process, of their children, and so on."""
    children: dict[int, list[int]] = {}
    for each, parent, _ in running():
        children.setdefault(parent, []).append(each)
    found = children.get(pid, [])
    for each in found:
        found.extend(children.get(each, ()))  # the loop also visits these
    return found


def all_ended(pids: list[int]) -> bool:
    """Return whether none of these processes runs any more."""
    return not {pid for pid, _, _ in running()} & set(pids)
