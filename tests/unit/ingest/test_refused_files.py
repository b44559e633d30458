"""A file that is refused in the middle: nothing after the fault counts, and a correction is enough.

After the correction, the same load again leaves every line counted once.
"""

import gzip
import json
import re

import polars as pl
import pytest
import zstandard

from openengagement.ingest import batch_parser
from openengagement.ingest.sources import chunks, text_parts
from openengagement.ingest.sources.loader import FileError, LoadedPart
from unit.ingest.test_loader import Folder, line, rejected_lines

COUNT = 60
IDS = range(1, COUNT + 1)
LAYOUTS = {"lines": (",\n", None), "one line": (", ", None), "many lines": (" \n\n,", 1)}


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 700)
    monkeypatch.setattr(text_parts, "ROW_BYTES_MAX", 2000)


def refuse(folder, path, **options):
    """Load a file that is refused. Return the error, after a check of what it says was loaded."""
    with pytest.raises(FileError) as caught:
        folder.load(path, **options)
    error = caught.value
    assert str(error).startswith(f"{path}: ")
    return error


def check_loaded(folder, last, ids=IDS):
    """The first Tweets have one reply each, the others none."""
    assert folder.totals(ids) == [int(number < last) for number in range(COUNT)]


def check_correction(folder, path, corrected, ids=IDS):
    """Load the corrected file twice: each Tweet has one reply."""
    path.write_bytes(corrected)
    for _ in range(2):
        assert folder.load(path).rejected == 0
        check_loaded(folder, COUNT, ids)
    assert rejected_lines(path) is None


def objects(indent, ids=IDS):
    return [json.dumps(json.loads(line(number, note="a,b")), indent=indent) for number in ids]


def starts_of(texts, gap, first):
    """Where in a file each of the texts begins."""
    starts = [first]
    for text in texts:
        starts.append(starts[-1] + len(text) + len(gap))
    return starts


FAULTS = {
    "no comma": lambda text, gap: text + gap.replace(",", " "),
    "another bracket": lambda text, gap: text + "}" + gap,
    "no bracket": lambda text, gap: text.rstrip("}") + gap,
    "no value": lambda text, gap: text.replace('"replies"', "") + gap,
    "no start of a text": lambda text, gap: text.replace('"replies', "replies") + gap,
    "no end of a text": lambda text, gap: text.replace('replies"', "replies") + gap,
    "two commas": lambda text, gap: text + "," + gap,
}


@pytest.mark.heavy
@pytest.mark.parametrize(("gap", "indent"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_an_array_with_a_fault_in_the_middle(folder, tmp_path, fault, gap, indent):
    path = tmp_path / "e.json"
    for at in (1, 13, 14, 15, 40, COUNT - 1):
        ids = range(at * 1000, at * 1000 + COUNT)
        texts = objects(indent, ids)
        starts = starts_of(texts, gap, 3)
        broken = [text + gap for text in texts[:-1]] + texts[-1:]
        broken[at - 1] = FAULTS[fault](texts[at - 1], gap)
        content = f"\n [{''.join(broken)}]\n".encode()
        path.write_bytes(content)

        error = refuse(folder, path)

        last = error.loaded.last
        check_loaded(folder, last, ids)
        assert max(at - 25, 0) <= last < at
        place = re.search(r"\(line (\d+), byte (\d+) of the file\)", str(error))
        row, byte = int(place[1]), int(place[2])
        assert row == content.count(b"\n", 0, byte) + 1
        assert starts[at - 1] <= byte <= starts[at + 1]
        check_correction(folder, path, f"\n [{gap.join(texts)}]\n".encode(), ids)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("blank", [b"", b" " * 1500])
def test_the_place_of_a_fault_in_a_file_of_one_chunk(folder, tmp_path, mark, blank):
    path = tmp_path / "e.json"
    content = mark + blank + b'[{"a": 1},\n {"b": x}]'
    path.write_bytes(content)

    error = refuse(folder, path)

    assert f"(line 2, byte {content.index(b'x')} of the file)" in str(error)
    assert error.loaded.last == 0


# Other ends are in `test_chunks.py`.
ENDS = {
    "more data": (b"]\n[]", b"]\n"),
    "no end": (b"\n", b"]\n"),
    "an open object": (b', {"a": 1', b"]"),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_array_with_a_fault_at_its_end(folder, tmp_path, end):
    path, start = tmp_path / "e.json", ("[" + ",\n".join(objects(None))).encode()
    wrong, right = ENDS[end]
    path.write_bytes(start + wrong)

    error = refuse(folder, path)

    last = error.loaded.last
    assert 0 < last < COUNT
    check_loaded(folder, last)
    check_correction(folder, path, start + right)


@pytest.mark.parametrize("at", [1, 12, 57])
def test_an_array_with_two_faults(folder, tmp_path, at):
    """The error names the first one."""
    path, texts = tmp_path / "e.json", objects(None)
    start = ("[" + ",\n".join(texts[:at])).encode()
    end = ",\n".join(texts[at:]).encode()
    path.write_bytes(start + b" " + end)

    error = refuse(folder, path)

    assert f"byte {len(start) + 1} of the file" in str(error)
    assert error.loaded.last < at
    check_loaded(folder, error.loaded.last)
    check_correction(folder, path, start + b"," + end + b"]")


@pytest.mark.heavy
@pytest.mark.parametrize("at", [1, 14, 15, 16, 40, COUNT])
@pytest.mark.parametrize("fault", ["another bracket", "no bracket"])
def test_objects_with_a_fault_in_the_middle(folder, tmp_path, at, fault):
    texts, path = objects(1), tmp_path / "e.json"
    broken = list(texts)
    broken[at - 1] = FAULTS[fault](texts[at - 1], "")
    path.write_text("\n".join(broken))

    error = refuse(folder, path)

    last = error.loaded.last
    assert last < at
    check_loaded(folder, last)
    assert re.search(r"\(line \d+, byte \d+ of the file\)", str(error))
    check_correction(folder, path, "\n".join(texts).encode())


def csv_line(number):
    return f"{number},replies,2026-01-01T00:00:00Z,\n"


LINES = {"e.ndjson": ("", line), "e.csv": ("tweet_id,type,at,note\n", csv_line)}


@pytest.mark.parametrize(
    ("name", "at"),
    [("e.ndjson", 1), ("e.ndjson", 12), ("e.ndjson", 13), ("e.csv", 12), ("e.csv", 21)],
)
def test_a_line_that_is_too_long_because_line_ends_were_lost(folder, tmp_path, name, at):
    """The line ends that come back may be in the block of the last good line."""
    header, make = LINES[name]
    lines, path = [make(number) for number in IDS], tmp_path / name
    times = 5 if name == "e.ndjson" else 10
    lines = [text.replace("\n", " " * 100 + "\n") for text in lines]
    start = len(header) + sum(map(len, lines[: at - 1]))
    joined = "".join(lines[at - 1 : at + 3 * times]).replace("\n", "")
    path.write_text(header + "".join([*lines[: at - 1], joined, *lines[at + 3 * times :]]))

    error = refuse(folder, path)

    number = at + bool(header)
    assert f"line {number} is longer than 2000 bytes; it begins at byte {start} " in str(error)
    last = max(error.loaded.last - bool(header), 0)
    assert last < at
    check_loaded(folder, last)
    check_correction(folder, path, (header + "".join(lines)).encode())


@pytest.mark.parametrize("text", ["[1]", "  [", "{\0}\0", "\ufeff{}x"])
def test_a_line_that_would_be_a_fault_at_the_start_of_a_file_is_one_rejected_line(
    folder, tmp_path, text
):
    """Wherever the chunks are cut."""
    lines = [line(number) for number in IDS]
    for at in range(6, 10):  # the first chunk ends within these lines
        path = tmp_path / f"{at}.ndjson"
        path.write_text("".join([*lines[:at], text + "\n", *lines[at:]]))

        loaded = folder.load(path)

        assert (loaded.accepted, loaded.rejected) == (COUNT, 1)
        assert [(each["line"], each["row"]) for each in rejected_lines(path)] == [(at + 1, text)]


PACK = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("name", LINES)
def test_a_compressed_file_that_is_damaged_loads_nothing(folder, tmp_path, name, suffix):
    """Its checksum is at its end. Until there, a flipped bit may look like another number."""
    header, make = LINES[name]
    content = (header + "".join(map(make, IDS))).encode()
    whole, path = PACK[suffix](content), tmp_path / (name + suffix)
    cuts = [whole[:at] for at in range(1, len(whole), 90)]
    flips = [
        whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        for at in range(20, len(whole), 40)
    ]
    for damaged in [*cuts, *flips, whole + b"x"]:
        path.write_bytes(damaged)
        assert refuse(folder, path).loaded == LoadedPart(0)
        assert folder.totals(IDS) == [0] * COUNT
    check_correction(folder, path, whole)


@pytest.mark.parametrize("bad", [1, 30])
def test_chunks_after_one_that_the_store_refuses_do_not_count(folder, tmp_path, bad):
    path, apply = tmp_path / "e.ndjson", folder.store.apply_batches

    def refuse_bad(batches):
        if any(bad in batch.deltas.ids for batch in batches):
            raise OverflowError
        return apply(batches)

    folder.store.apply_batches = refuse_bad
    path.write_text("".join(map(line, IDS)))

    error = refuse(folder, path)

    last = error.loaded.last
    assert last < bad
    check_loaded(folder, last)
    folder.store.apply_batches = apply
    lines = [line(number, note="corrected" if number == bad else "") for number in IDS]
    lines[: bad - 1] = map(line, range(1, bad))
    check_correction(folder, path, "".join(lines).encode())


def test_files_before_the_refused_one_count_and_later_ones_do_not(folder, tmp_path):
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    for index, path in enumerate(paths):
        path.write_text(f"[{','.join(objects(None)[index * 20 : index * 20 + 20])}]")
    right = paths[1].read_bytes()
    paths[1].write_bytes(right.replace(b"},{", b"}{"))

    error = refuse_all(folder, paths)

    assert str(error).startswith(f"{paths[1]}: ")
    assert error.loaded.last == 0
    assert folder.totals(IDS) == [1] * 20 + [0] * 40
    paths[1].write_bytes(right)
    assert folder.load(*paths).repeated == 20
    assert folder.totals(IDS) == [1] * COUNT


def refuse_all(folder, paths):
    with pytest.raises(FileError) as caught:
        folder.load(*paths)
    return caught.value


def test_tweets_after_the_fault_are_not_registered(folder, tmp_path):
    rows = [json.dumps({"id": number, "author_id": 1}) for number in IDS]
    path = tmp_path / "t.json"
    path.write_text("[" + ",".join(rows[:40]) + " " + ",".join(rows[40:]) + "]")

    error = refuse(folder, path, kind="tweets")

    assert sorted(folder.store.read_tweets(list(IDS))) == [*range(1, error.loaded.last + 1)]
    assert error.loaded.last < 40
    path.write_text(f"[{','.join(rows)}]")
    folder.load(path, kind="tweets")
    assert sorted(folder.store.read_tweets(list(IDS))) == [*IDS]


@pytest.mark.parametrize("kind", ["events", "tweets"])
def test_rows_of_a_columnar_file_before_a_fault(folder, tmp_path, monkeypatch, kind):
    """The keys of the chunks depend on the whole file, and the error says so."""
    monkeypatch.setattr(batch_parser, "CHUNK_ROWS", 7)
    path = tmp_path / "e.arrows"
    rows = [json.loads(line(number)) | {"id": number, "author_id": 1} for number in IDS]
    pl.DataFrame(rows).write_ipc_stream(path)
    path.write_bytes(path.read_bytes() + b"more")

    error = refuse(folder, path, kind=kind)

    last = error.loaded.last
    assert error.loaded == LoadedPart(last, "rows", whole_key=kind == "events")
    assert 0 < last < COUNT
    if kind == "events":
        check_loaded(folder, last)
    else:
        assert sorted(folder.store.read_tweets(list(IDS))) == [*range(1, last + 1)]
