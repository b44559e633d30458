"""Damaged Parquet and Arrow: the process survives, whatever a body does to the decoder.

The decoder is native code, so a child process parses the damaged bodies and prints the results.
"""

import json
import subprocess
import sys

import pytest

from support.waiting import PATIENCE_S

MUTANTS = 400  # of one body
READ_THEM = """
import collections, io, json, random, sys
from datetime import datetime
import polars as pl
from openengagement.errors import ApiError
from openengagement.ingest.formats.detection import Format
from openengagement.ingest.batch_parser import BatchParser
from openengagement.ingest.rows import EVENTS

form, seed, mutants = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
count = 50
frame = pl.DataFrame({
    "tweet_id": [5] * count, "type": ["favorites", "replies"] * (count // 2),
    "at": [datetime(2026, 1, 1)] * count, "count": [1] * count,
    "promoted": [True, None] * (count // 2),
})
target = io.BytesIO()
if form == "parquet":
    frame.write_parquet(target)
else:
    frame.write_ipc_stream(target)
whole = target.getvalue()
chance = random.Random(seed)
seen = collections.Counter()
parser = BatchParser(lines_max=10**6, latest_s=lambda: 2e9)
for _ in range(mutants):
    body = bytearray(whole)
    for _ in range(chance.randint(1, 6)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    try:
        parser.parse(bytes(body), Format[form.upper()], kind=EVENTS)
        seen["read"] += 1
    except ApiError:
        seen["refused"] += 1
    except BaseException as error:
        seen[type(error).__name__] += 1
print(json.dumps(seen))
"""


@pytest.mark.heavy
@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_damaged_body_is_parsed_or_refused(form, seed):
    done = subprocess.run(
        [sys.executable, "-c", READ_THEM, form, str(seed), str(MUTANTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S * 10,  # it starts a process for each mutant
    )

    assert done.returncode == 0, f"the process died: {done.returncode}: {done.stderr[-400:]}"
    seen = json.loads(done.stdout)
    assert set(seen) <= {"read", "refused"}, seen
    assert sum(seen.values()) == MUTANTS
