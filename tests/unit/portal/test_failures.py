"""Failures in the words of a page."""

import pytest

from openengagement import errors
from openengagement.language.negotiation import load_languages
from openengagement.look import Look
from openengagement.portal.failures import describe_failure
from openengagement.portal.figure_faults import NOT_NOW, find_figure_faults
from openengagement.portal.rendering import PageRenderer
from support.cases import cases

STATUSES = (400, 403, 408, 413, 415, 421, 431, 500, 502, 503)


@cases("status", STATUSES)
def test_every_failure_says_what_to_do(status):
    refusal = describe_failure(status)
    assert refusal.status == status
    assert refusal.heading
    assert refusal.text.endswith(".")
    assert "http" not in refusal.heading.lower()


@cases("status", STATUSES)
def test_a_failure_is_a_page_of_the_portal_that_reads_nothing(status):
    """Neither the session nor the registry: they may be what failed."""
    renderer = PageRenderer(Look("Harbour <b>"), None, languages=load_languages())
    html = renderer.render_failure(describe_failure(status), "0123abcd")
    assert f"<h1>{describe_failure(status).heading}</h1>" in html
    assert '<a class="alone" href="/">Home page</a>' in html
    assert "0123abcd" in html
    assert "/static/portal." in html
    assert "<b>" not in html


def test_a_failure_of_the_server_is_not_blamed_on_the_person():
    assert describe_failure(500).text.startswith("It is not your fault.")
    assert describe_failure(400).heading == "The server cannot read this request"


@cases(
    ("error", "faults"),
    [
        (errors.InvalidField("start: is not a time such as x"), {"start"}),
        (errors.InvalidField("start: is not a time", "end: is not a time"), {"start", "end"}),
        (errors.InvalidField("groupings: holds 9"), {""}),
        (errors.UnsupportedTypes("x"), {"metric"}),
        (errors.ForbiddenTweets("x"), {""}),
        (errors.MalformedBody("x"), {""}),
    ],
)
def test_refused_figures_are_explained_without_the_words_of_the_api(error, faults):
    found = find_figure_faults(error)
    assert found.keys() == faults
    assert not any("start:" in text or "groupings" in text for text in found.values())


@pytest.mark.parametrize("error", [errors.Unavailable("x"), errors.InternalError()])
def test_figures_that_cannot_be_read_now(error):
    assert find_figure_faults(error) == {"": NOT_NOW}
