"""A form of a rendered page is filled in with what was typed before."""

from openengagement.portal.form_filling import fill_form
from support.cases import cases
from support.person import Form, _Reader

HOSTILE = [
    '"><script>alert(1)</script>',
    "</textarea><b>",
    "a & b &amp; c",
    "'\"`",
    "\u202e é\n\nx",
]
PAGE = """<!doctype html><html><body><form method="post" action="/out"><input name="x"></form>
<main id="main" tabindex="-1">
<form method="get" action="/save"><input name="name" value="of a search"></form>
<details class="confirm">
<summary>More</summary>
<form class="a" method="post" action="/save#there">
  <input type="hidden" name="csrf_token" value="new">
  <input type="hidden" name="seen" value="fresh">
  <input type="hidden" name="was" value="fresh" data-kept>
  <input id="name" name="name" type="text" value="old &amp; worn" required>
  <textarea name="about" rows="2">
older</textarea>
  <select name="kind"><option value="a" selected>A</option><option value="b">B</option></select>
  <input type="radio" name="level" value="1" checked> <input type="radio" name="level" value="2">
  <input type="radio" name="level" value="3" disabled>
  <input type="checkbox" name="on" value="on" checked><input type="checkbox" name="off" value="on">
  <input type="password" name="password" value=""><input type="password" name="secret">
  <button name="act" value="one">Go</button>
</form></details>
<form method="post" action="/save"><input type="hidden" name="account" value="7">
  <button name="act" value="two">Go</button></form>
</main></body></html>"""
TYPED = {
    "csrf_token": "old",
    "seen": "stale",
    "was": "first",
    "name": "new",
    "about": "one\ntwo",
    "kind": "b",
    "level": "2",
    "off": "on",
    "password": "p",
    "secret": "s",
    "act": "one",
}


def read(html: str) -> list[Form]:
    return _Reader(html).forms


def test_every_kind_of_field_is_filled_in():
    filled = fill_form(PAGE, "/save", fields=TYPED)
    assert filled.has_form
    forms = read(filled.html)
    assert dict(forms[2].fields) == {
        "csrf_token": "new",
        "seen": "fresh",
        "was": "first",
        "name": "new",
        "about": "one\ntwo",
        "kind": "b",
        "level": "2",
        "off": "on",
        "password": "",
        "secret": "",
    }
    assert [forms[at] for at in (0, 1, 3)] == [read(PAGE)[at] for at in (0, 1, 3)]


def test_secrets_of_a_form_stay_empty_and_hidden_fields_belong_to_the_page():
    html = fill_form(PAGE, "/save", fields=TYPED).html
    assert 'value="p"' not in html
    assert 'value="s"' not in html
    assert "stale" not in html


def test_the_form_that_fits_best_is_filled_in_and_its_details_open():
    assert '<details class="confirm" open>' in fill_form(PAGE, "/save", fields=TYPED).html
    other = fill_form(PAGE, "/save", fields={"account": "7", "act": "two", "csrf_token": "old"})
    assert (other.has_form, other.html) == (True, PAGE)


def test_a_page_without_the_form_stays_as_it_is():
    for action in ("/nowhere", "", "/save?x"):
        filled = fill_form(PAGE, action, fields=TYPED)
        assert (filled.has_form, filled.html) == (False, PAGE)


def test_the_note_stands_above_the_content():
    html = fill_form(PAGE, "/save", fields=TYPED).with_note("<p>Note</p>")
    assert '<main id="main" tabindex="-1"><p>Note</p>' in html


@cases("text", HOSTILE)
def test_hostile_text_stays_text(text):
    fields = TYPED | {"name": text, "about": text, "kind": text, "level": text, "was": text}
    html = fill_form(PAGE, "/save", fields=fields).html
    given = dict(read(html)[2].fields)
    assert (given["name"], given["about"], given["was"]) == (text, text, text)
    assert "kind" not in given
    assert "level" not in given
    assert "<script>" not in html
    assert html.count("<b>") == 0
