"""The short version of `make faults`."""

import pytest

from local_cluster.faults import SHORT, try_faults

pytestmark = pytest.mark.cluster


def test_every_answer_is_exact_after_each_fault_under_load():
    rows = []
    skipped = try_faults(short=True, report=rows.append)
    for row in rows:
        print(" | ".join(row.cells()))
    if skipped:
        pytest.skip(f"only root may try: {', '.join(skipped)}")
    assert {row.name for row in rows} > SHORT
    assert len(rows) == len(SHORT) + 6
