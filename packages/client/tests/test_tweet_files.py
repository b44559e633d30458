"""Ids are read from the files that people have."""

import io
import json

import pytest

from openengagement_client import InvalidQuery
from openengagement_client.tweet_files import read_tweet_ids
from support.cases import cases

ONE, OTHER = "2125939558758486310", "2126287388564001922"
V1 = [{"id": int(ONE), "id_str": ONE, "text": "a,b"}, {"id_str": OTHER, "id": 2126287388564002000}]
V2 = [{"id": ONE, "text": "x"}, {"id": OTHER, "text": "[y"}]


def ndjson(values):
    return "".join(json.dumps(value) + "\n" for value in values)


@cases(
    "text",
    [
        f"{ONE}\n{OTHER}\n",
        f"\n\n  {ONE} \r\n\r\n{OTHER}",
        f"\ufefftweet_id,text\n{ONE},x\n{OTHER},y\n",
        f'text,Tweet id\n"a,\nb",{ONE}\n,"{OTHER}"\n',
        f"{ONE},a text\n{OTHER},another\n",
        f"x,{ONE}\ny,{OTHER}\n",
        json.dumps(V1),
        json.dumps(V2, indent=2),
        json.dumps({"data": V2, "meta": {"result_count": 2}}, indent=1),
        json.dumps({"statuses": V1}),
        json.dumps([int(ONE), OTHER]),
        ndjson(V1),
        ndjson(V2),
        ndjson([{"data": V2[0]}, {"data": V2[1]}]),
        ndjson([{"data": V2[:1]}, {"data": V2[1:]}]),
        ndjson([{"tweet_id": ONE, "count": 1}, {"tweet_id": OTHER}]),
        "window.YTD.tweets.part0 = " + json.dumps([{"tweet": each} for each in V1], indent=2),
        "window.YTD.tweet.part12 = " + json.dumps([{"tweet": each} for each in V1]) + ";\n",
    ],
)
def test_forms(text):
    found = [each.strip() for each in read_tweet_ids(io.StringIO(text))]
    assert found == [ONE, OTHER]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_files(text):
    assert list(read_tweet_ids(io.StringIO(text))) == []


@cases(
    "text",
    [
        *("name,text\na,b\n", '{"text": "x"}\n', "[\n{", "{"),
        f'{{"id": "{ONE}"}}\n{{"id":\n',
        "[" * 200_000,
        f'{ONE},"{"x" * 200_000}"\n',
    ],
)
def test_files_without_ids(text):
    with pytest.raises(InvalidQuery):
        list(read_tweet_ids(io.StringIO(text)))


def test_lines_are_read_as_needed():
    def lines():
        yield f"{ONE}\n"
        raise AssertionError

    assert next(read_tweet_ids(lines())) == ONE
