"""The outcome of a batch for its sender, and the deltas for the store."""

import msgspec
import pytest

from openengagement.engagement.counters import TYPE_BITS
from openengagement.engagement.types import TYPE_NAMES
from openengagement.ingest.batch import BatchIdentity, Outcome, describe, digest_of, make_batch

GOOD = '{"tweet_id":"5","type":"favorites","at":"2026-01-01T00:30:00Z"}'
BAD = {
    "invalid_id": GOOD.replace('"5"', '"x"'),
    "malformed": "{",
    "unknown_type": GOOD.replace("favorites", "likes"),
}


def test_all_rejections_are_counted_and_the_first_are_listed(read):
    """The lines are in order, whether the parser or a rule rejected them."""
    order = ["unknown_type", "malformed", "invalid_id"] * 50
    body = "\n".join(BAD[reason] for reason in order) + "\n" + GOOD

    outcome = describe(read(body), listed_max=100)

    assert (outcome.accepted, outcome.rejected) == (1, 150)
    assert outcome.reasons == dict.fromkeys(sorted(BAD), 50)
    listed = [(each.line, each.reason) for each in outcome.rejections]
    assert listed == [(index + 1, order[index]) for index in range(100)]
    assert all(each.detail for each in outcome.rejections)


@pytest.mark.parametrize("listed_max", [0, 1, 10_000])
def test_the_list_of_rejections_is_limited(read, listed_max):
    outcome = describe(read("{\n" * 20), listed_max=listed_max)

    assert outcome.rejected == 20
    assert len(outcome.rejections) == min(20, listed_max)


def test_a_batch_without_rejections(read):
    outcome = describe(read(GOOD), listed_max=100)

    assert msgspec.to_builtins(outcome) == {
        "accepted": 1,
        "rejected": 0,
        "rejections": [],
        "reasons": {},
        "duplicate": False,
    }


def test_a_repeat_gets_the_outcome_of_the_first_attempt(read):
    parsed = read(f"{GOOD}\n{{\n")
    outcome = describe(parsed, listed_max=100)
    batch = make_batch(parsed, outcome, identity=BatchIdentity(b"key", digest_of(b"body")))

    again = Outcome.of_repeat(batch.outcome)

    assert again == msgspec.structs.replace(outcome, duplicate=True)
    assert batch.key == b"key"


def test_the_digest_is_of_the_body(read):
    parsed = read(GOOD)
    outcome = describe(parsed, listed_max=100)
    digests = [
        make_batch(parsed, outcome, identity=BatchIdentity(None, digest_of(body))).digest
        for body in (b"a", b"b", b"a")
    ]

    assert digests[0] == digests[2] != digests[1]


def test_a_batch_may_have_a_key_that_never_expires(read):
    """A batch of a log has a position instead: see `unit/ingest/logs/test_messages.py`."""
    parsed = read(GOOD)
    identity = BatchIdentity(b"key", b"digest", expires=False)

    batch = make_batch(parsed, describe(parsed, listed_max=0), identity=identity)

    assert (batch.position, batch.expires) == (None, False)


def test_only_valid_rows_reach_the_store(read):
    parsed = read("\n".join([GOOD, *BAD.values(), GOOD]))

    outcome = describe(parsed, listed_max=0)
    deltas = make_batch(parsed, outcome, identity=BatchIdentity(None, b"")).deltas

    cells = [
        490_896 * 2**TYPE_BITS + TYPE_NAMES.index(name) for name in ("engagements", "favorites")
    ]
    assert [part.tolist() for part in (deltas.ids, deltas.starts, deltas.cells, deltas.counts)] == [
        [5],
        [0, 2],
        cells,
        [2, 2],
    ]


def test_a_batch_without_valid_rows(read):
    parsed = read("{\n{\n")

    outcome = describe(parsed, listed_max=0)
    batch = make_batch(parsed, outcome, identity=BatchIdentity(b"k", b""))

    assert batch.deltas.rows == 0
