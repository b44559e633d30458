"""The memory for a text body is bounded by its size and its lines, whatever it holds.

A child process parses each body and prints by how much its memory grew at most. To bound the
memory, bodies are read in parts; where they are cut must not matter.
"""

import json
import random
import subprocess
import sys

import pytest

from openengagement.errors import BodyTooLarge
from openengagement.ingest.formats import json_documents, json_rows
from support.waiting import PATIENCE_S

SIZE_MIB = 26  # with more than eight million elements of three bytes
BOUND_MIB = 200  # the text of a few values, and the values of a few MiB of rows
# A fork parses each body: a new process would import the product for each.
PARSE = """
import json, os, resource, sys
from openengagement.errors import ApiError
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.rows import EVENTS

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def measure(size, form, head, unit, tail):
    parser = BatchParser(lines_max=10**6, latest_s=lambda: 2e9)
    parser.parse(b'[{"tweet_id": 1}]', Format.JSON, kind=EVENTS)
    body = b"".join([head.encode(), unit.encode() * (size // len(unit)), tail.encode()])
    before = peak_kib()
    try:
        parsed = parser.parse(body, Format[form], kind=EVENTS)
        answer = [parsed.rows.height, parsed.rejected.get_column("reason").to_list()]
    except ApiError as error:
        answer = [error.status, error.texts[0]]
    return (peak_kib() - before) // 1024, answer

for body in json.load(sys.stdin):
    if not (child := os.fork()):
        print(json.dumps(measure(int(sys.argv[1]), *body)), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, body
"""
LINES = "body: has more than 1000000 lines; send smaller batches"
EVENT = '{"type":"favorites","at":"2026-01-01T00:30:00Z","tweet_id":'
BODIES = {
    "an array of numbers": ("JSON", "[", "0,", "0]", [413, LINES]),
    "an array of objects": ("JSON", "[", "{},", "{}]", [413, LINES]),
    "an array of texts": ("JSON", "[", '"",', '""]', [413, LINES]),
    "objects": ("JSON", "{\n}", "{}", "", [413, LINES]),
    "objects with texts": ("JSON", "{\n}", '{"\\\\\\"]":"{"} ', "", [413, LINES]),
    "a nested value in an array": ("JSON", f"[{EVENT}[", "0,", "0]}]", [0, ["invalid_id"]]),
    "a nested value on a line": ("NDJSON", f"{EVENT}[", "0,", "0]}\n", [0, ["invalid_id"]]),
    "nested arrays": ("NDJSON", f"{EVENT}[", "[],", "0]}\n", [0, ["invalid_id"]]),
    "nested objects": ("NDJSON", EVENT + '{"a":[', "{},", "0]}}\n", [0, ["invalid_id"]]),
    "a nested value of another key": (
        "NDJSON",
        '{"other":[',
        "[],",
        f'0],{EVENT.removeprefix("{")}"5"}}\n',
        [1, []],
    ),
    "columns": (
        "CSV",
        "tweet_id,type,at",
        ",a",
        "\n1,2,3",
        [400, "body: the first line has more than 10000 commas"],
    ),
    "values": (
        "CSV",
        'tweet_id,type,at\n"1"',
        ",ab",
        "\n",
        [400, "body: the row that ends on line 2 has more than 10000 commas"],
    ),
    "values with line ends": (
        "CSV",
        'tweet_id,type,at\n"',
        '",a' + ",b" * 5000 + ',"\n',
        '"\n',
        [400, "body: the row that ends on line 3 has more than 10000 commas"],
    ),
    "values without quotes": (
        "CSV",
        "tweet_id,type,at\n1",
        ",ab",
        "\n",
        [400, "body: the row that ends on line 2 has more than 10000 commas"],
    ),
}


@pytest.mark.heavy
def test_memory_does_not_grow_with_what_a_body_holds():
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(SIZE_MIB * 2**20)],
        input=json.dumps([texts for *texts, _ in BODIES.values()]),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S * len(BODIES),
    )
    assert done.returncode == 0, done.stderr
    measured = dict(zip(BODIES, map(json.loads, done.stdout.splitlines()), strict=True))

    assert {name: answer for name, (_, answer) in measured.items()} == {
        name: answer for name, (*_, answer) in BODIES.items()
    }
    assert {name: mib for name, (mib, _) in measured.items() if mib >= BOUND_MIB} == {}


def make_documents(count, *, seed):
    """Make documents of events with nested values, and with texts that look like JSON."""
    chance = random.Random(seed)

    def make_value(depth):
        kind = chance.randrange(6 if depth < 3 else 3)
        if kind == 0:
            return "".join(chance.choices('a"\\\\{}[],\né', k=chance.randrange(8)))
        if kind < 3:
            return chance.choice([5, -1.5, None, True])
        values = [make_value(depth + 1) for _ in range(chance.randrange(4))]
        return values if kind < 5 else {f'{n}"\\': value for n, value in enumerate(values)}

    for _ in range(count):
        ids = range(1, chance.randrange(2, 9))
        yield (
            [
                {"a": make_value(0), "tweet_id": number, **VALID, "b": make_value(0)}
                for number in ids
            ],
            chance.choice([{}, {"indent": 1}, {"ensure_ascii": False}]),
        )


def test_a_long_text_and_an_unclosed_quote_may_have_many_commas(read):
    """They are one value each, and all lines of the unclosed one are rejected."""
    head, row = "tweet_id,type,at,note", "5,favorites,2026-01-01T00:30:00Z,"
    long = '"' + ("x,y,z\n" * 9000) + '"'
    lines = [head, row + long, row, row + '"open', *[row] * 9000]

    parsed = read("\n".join(lines), "csv")

    assert parsed.rows.get_column("line").to_list() == [2, 9003]
    assert parsed.rejected.get_column("line").to_list() == list(range(9004, 9004 + 9001))
    assert set(parsed.rejected.get_column("reason")) == {"malformed"}


VALID = {"type": "favorites", "at": "2026-01-01T00:30:00Z"}


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 50])
def test_documents_are_split_alike_in_blocks_of_any_size(read, monkeypatch, block_bytes):
    monkeypatch.setattr(json_documents, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(json_documents, "_COMMAS_PER_ELEMENT", 0)
    for rows, style in make_documents(15, seed=block_bytes):
        ids = [row["tweet_id"] for row in rows]
        texts = [json.dumps(row, **style) for row in rows]
        for body in ("\n ".join(texts), "[" + ", ".join(texts) + "]"):
            parsed = read(body, "json", lines_max=len(rows))
            assert parsed.rows.select("line", "tweet_id").rows() == list(zip(ids, ids, strict=True))
            if len(rows) > 1:
                with pytest.raises(BodyTooLarge):
                    read(body, "json", lines_max=len(rows) - 1)


@pytest.mark.parametrize("part_bytes", [1, 60, 200])
@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_rows_are_read_alike_in_parts_of_any_size(read, monkeypatch, form, part_bytes):
    good = [f'{{"tweet_id":{n},"type":"favorites","at":"{VALID["at"]}"}}' for n in range(1, 30)]
    lines = [*good, "nonsense", EVENT + '"é"}', EVENT + "[1]}", "{}", EVENT + '1,"count":1.5e1}']
    random.Random(7).shuffle(lines)
    body = "\n".join(lines) if form == "ndjson" else f"[{','.join(lines)}]".replace("nonsense", "7")
    whole = read(body, form)
    monkeypatch.setattr(json_rows, "_PART_BYTES", part_bytes)
    monkeypatch.setattr(json_rows, "_LARGE_BYTES", part_bytes)

    parts = read(body, form)

    assert (parts.rows.height, parts.rejected.height) == (30, 4)
    assert parts.rows.equals(whole.rows)
    assert parts.rejected.equals(whole.rejected)
