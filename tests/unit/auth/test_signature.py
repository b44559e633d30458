"""Signatures of RFC 5849: published vectors (api.md 4.2), and properties checked with oauthlib."""

import contextlib
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oauthlib.oauth1 import Client
from oauthlib.oauth1.rfc5849 import signature as reference

from openengagement.auth.signature import parse_header, signatures_match
from openengagement.http.forms import MalformedParameters, decode, parse_form
from openengagement_client.signature import base_string, base_url, encode, sign
from support.cases import cases

# V1: "Creating a signature".
V1_CONSUMER_SECRET = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"
V1_TOKEN_SECRET = "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE"
V1_OAUTH = {
    "oauth_consumer_key": "xvz1evFS4wEEPTGEFPHBog",
    "oauth_nonce": "kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg",
    "oauth_signature_method": "HMAC-SHA1",
    "oauth_timestamp": "1318622958",
    "oauth_token": "370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb",
    "oauth_version": "1.0",
}
V1_FORM = {
    "include_entities": "true",
    "status": "Hello Ladies + Gentlemen, a signed OAuth request!",
}
V1_BASE = (
    "POST&https%3A%2F%2Fapi.twitter.com%2F1.1%2Fstatuses%2Fupdate.json&include_entities%3Dtrue"
    "%26oauth_consumer_key%3Dxvz1evFS4wEEPTGEFPHBog"
    "%26oauth_nonce%3DkYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg"
    "%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D1318622958"
    "%26oauth_token%3D370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb%26oauth_version%3D1.0"
    "%26status%3DHello%2520Ladies%2520%252B%2520Gentlemen%252C%2520a%2520signed%2520OAuth"
    "%2520request%2521"
)
# V2: "Log in with Twitter".
V2_SECRET = "L8qq9PZyRg6ieKGEKhZolGC0vJWLw8iEJ88DRdyOg"
V2_OAUTH = {
    "oauth_consumer_key": "cChZNFj6T5R0TigYB9yd1w",
    "oauth_signature_method": "HMAC-SHA1",
    "oauth_timestamp": "1318467427",
    "oauth_version": "1.0",
}
V2_BASE = (
    "POST&https%3A%2F%2Fapi.twitter.com%2Foauth%2Frequest_token&oauth_callback%3Dhttp%253A%252F"
    "%252Flocalhost%252Fsign-in-with-twitter%252F%26oauth_consumer_key%3DcChZNFj6T5R0TigYB9yd1w"
    "%26oauth_nonce%3Dea9ec8429b68d6b77cd5600adbbb0456%26oauth_signature_method%3DHMAC-SHA1"
    "%26oauth_timestamp%3D1318467427%26oauth_version%3D1.0"
)
# V3: this API, V1's keys, a JSON body that is not signed.
V3_URL = "https://data-api.twitter.com/insights/engagement/totals"
V3_BASE = (
    "POST&https%3A%2F%2Fdata-api.twitter.com%2Finsights%2Fengagement%2Ftotals"
    "&oauth_consumer_key%3Dxvz1evFS4wEEPTGEFPHBog"
    "%26oauth_nonce%3DkYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg"
    "%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D1318622958"
    "%26oauth_token%3D370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb%26oauth_version%3D1.0"
)
# V4: RFC 5849.
V4_SECRET = "kd94hf93k423kf44"
V4_OAUTH = {"oauth_consumer_key": "dpf43f3p2l4k3l03", "oauth_signature_method": "HMAC-SHA1"}
V4_BASE = (
    "GET&http%3A%2F%2Fphotos.example.net%2Fphotos&file%3Dvacation.jpg"
    "%26oauth_consumer_key%3Ddpf43f3p2l4k3l03%26oauth_nonce%3DchapoH"
    "%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131202"
    "%26oauth_token%3Dnnch734d00sl2jdk%26size%3Doriginal"
)


def without_token(fields):
    return {name: value for name, value in fields.items() if name != "oauth_token"}


VECTORS = {
    "V1, docs until the rename": (
        "POST",
        "https://api.twitter.com/1.1/statuses/update.json",
        V1_OAUTH | V1_FORM,
        (V1_CONSUMER_SECRET, V1_TOKEN_SECRET),
        "hCtSmYh+iHYCEqBWrE7C7hYmtUk=",
    ),
    "V1, docs now": (
        "POST",
        "https://api.x.com/1.1/statuses/update.json",
        V1_OAUTH | V1_FORM,
        (V1_CONSUMER_SECRET, V1_TOKEN_SECRET),
        "Ls93hJiZbQ3akF3HF3x1Bz8/zU4=",
    ),
    "V1, the one printed beside another URL": (
        "POST",
        "https://api.twitter.com/1/statuses/update.json",
        V1_OAUTH | V1_FORM,
        (V1_CONSUMER_SECRET, V1_TOKEN_SECRET),
        "tnnArxj06cWHq44gCs1OSKk/jLY=",
    ),
    "V2, request token": (
        "POST",
        "https://api.twitter.com/oauth/request_token",
        V2_OAUTH
        | {
            "oauth_nonce": "ea9ec8429b68d6b77cd5600adbbb0456",
            "oauth_callback": "http://localhost/sign-in-with-twitter/",
        },
        (V2_SECRET, ""),
        "F1Li3tvehgcraF8DMJ7OyxO4w9Y=",
    ),
    "V2, access token": (
        "POST",
        "https://api.twitter.com/oauth/access_token",
        V2_OAUTH
        | {
            "oauth_nonce": "a9900fe68e2573b27a37f10fbad6a755",
            "oauth_token": "NPcudxy0yU5T3tBzho7iCotZ3cnetKwcTIRlX0iwRl0",
            "oauth_verifier": "uw7NjWHT6OJ1MpJOXsHfNxoAhPKpgI8BlYDhxEjIBY",
        },
        (V2_SECRET, "veNRnAWe6inFuo8o2u8SLLZLjolYDmDP7SzL0YfYI"),
        "39cipBtIOHEEnybAR4sATQTpl2I=",
    ),
    "V3, with a token": (
        "POST",
        V3_URL,
        V1_OAUTH,
        (V1_CONSUMER_SECRET, V1_TOKEN_SECRET),
        "/pMYbW9O1cKhdPGpgGyscSuMVoU=",
    ),
    "V3, consumer only": (
        "POST",
        V3_URL,
        without_token(V1_OAUTH),
        (V1_CONSUMER_SECRET, ""),
        "9zv9uOdXKDNqYsgMVfwfdnwXL8U=",
    ),
    "V3, consumer only, an empty token sent": (
        "POST",
        V3_URL,
        V1_OAUTH | {"oauth_token": ""},
        (V1_CONSUMER_SECRET, ""),
        "HNkp03TtNpNEr3nf/wRMzRUuoNc=",
    ),
    "V4, initiate": (
        "POST",
        "https://photos.example.net/initiate",
        V4_OAUTH
        | {
            "oauth_timestamp": "137131200",
            "oauth_nonce": "wIjqoS",
            "oauth_callback": "http://printer.example.com/ready",
        },
        (V4_SECRET, ""),
        "74KNZJeDHnMBp0EMJ9ZHt/XKycU=",
    ),
    "V4, token": (
        "POST",
        "https://photos.example.net/token",
        V4_OAUTH
        | {
            "oauth_token": "hh5s93j4hdidpola",
            "oauth_timestamp": "137131201",
            "oauth_nonce": "walatlh",
            "oauth_verifier": "hfdp7dh39dks9884",
        },
        (V4_SECRET, "hdhd0244k9j7ao03"),
        "gKgrFCywp7rO0OXSjdot/IHF7IU=",
    ),
    "V4, photos": (
        "GET",
        "http://photos.example.net/photos",
        V4_OAUTH
        | {
            "file": "vacation.jpg",
            "size": "original",
            "oauth_token": "nnch734d00sl2jdk",
            "oauth_timestamp": "137131202",
            "oauth_nonce": "chapoH",
        },
        (V4_SECRET, "pfkkdhi9sl3r4s00"),
        "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
    ),
}


@cases("name", VECTORS)
def test_published_signature(name):
    method, url, parameters, secrets, expected = VECTORS[name]
    base = base_string(method, url, parameters=parameters.items())
    assert sign(base, secrets[0], token_secret=secrets[1]) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("V1, docs until the rename", V1_BASE),
        ("V2, request token", V2_BASE),
        ("V3, with a token", V3_BASE),
        ("V4, photos", V4_BASE),
    ],
)
def test_published_base_string(name, expected):
    method, url, parameters, *_ = VECTORS[name]
    assert base_string(method, url, parameters=parameters.items()) == expected


def test_normalisation_case_of_section_3_4_1():
    header = parse_header(
        'realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7", '
        'oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", '
        'oauth_nonce="7d8f3e4a"'
    )
    query = parse_form("b5=%3D%253D&a3=a&c%40=&a2=r%20b")
    form = parse_form("c2&a3=2+q")
    parameters = header + query + form
    base = base_string(
        "POST", base_url("http", "EXAMPLE.COM:80", path="/request"), parameters=parameters
    )
    expected = (
        "a2=r%20b&a3=2%20q&a3=a&b5=%3D%253D&c%40=&c2=&oauth_consumer_key=9djdj82h48djs9d2"
        "&oauth_nonce=7d8f3e4a&oauth_signature_method=HMAC-SHA1&oauth_timestamp=137131201"
        "&oauth_token=kkk9d7dh3k39sjv7"
    )
    assert base == f"POST&http%3A%2F%2Fexample.com%2Frequest&{encode(expected)}"
    assert sign(base, "j49sk3j29djd", token_secret="dh893hdasih9") == "r6/TJjbCOr97/+UU0NsvSne7s5g="


@cases(
    ("text", "encoded"),
    [
        ("Ladies + Gentlemen", "Ladies%20%2B%20Gentlemen"),
        ("An encoded string!", "An%20encoded%20string%21"),
        ("Dogs, Cats & Mice", "Dogs%2C%20Cats%20%26%20Mice"),
        ("\u2603", "%E2%98%83"),
        ("-._~", "-._~"),
        ("*'()/:@", "%2A%27%28%29%2F%3A%40"),
        ("", ""),
    ],
)
def test_percent_encoding(text, encoded):
    assert encode(text) == encoded
    assert decode(encoded) == text


@cases("text", ["%", "%1", "%zz", "a%", "%+1", "% 1", "%C3%28", "%ff", "%ED%A0%80"])
def test_broken_escapes(text):
    with pytest.raises(MalformedParameters):
        decode(text)


@cases(
    ("text", "pairs"),
    [
        ("", []),
        ("a=1", [("a", "1")]),
        ("a", [("a", "")]),
        ("a=", [("a", "")]),
        ("=1", [("", "1")]),
        ("a=1&a=2", [("a", "1"), ("a", "2")]),
        ("a=b=c", [("a", "b=c")]),
        ("a+b=c+d%2B", [("a b", "c d+")]),
        ("&&a=1&", [("a", "1")]),
        ("a;b=1", [("a;b", "1")]),
    ],
)
def test_forms(text, pairs):
    assert parse_form(text) == pairs


@cases(
    ("text", "pairs"),
    [
        ("", []),
        ('a="1"', [("a", "1")]),
        ('a="1",b="2"', [("a", "1"), ("b", "2")]),
        ('a="1" ,\t b="2", ', [("a", "1"), ("b", "2")]),
        ('realm="x", a="1+1%2B%20"', [("a", "1+1+ ")]),
        ('a="="', [("a", "=")]),
        ('a=""', [("a", "")]),
        ('a="1", a="2"', [("a", "1"), ("a", "2")]),
        ('realm="one, two", a="1"', [("a", "1")]),
        ('realm="50% off %zz %ff", a="1"', [("a", "1")]),
        ('a="1", Realm="%"', [("a", "1")]),
        ('realm=api, a="1"', [("a", "1")]),
        ('realm="say \\"hi\\", a=\\"2\\"", a="1"', [("a", "1")]),
        (r'a="one\"two\\three\,four"', [("a", r'one"two\three,four')]),
        (r'a="\%41\%2\5"', [("a", "A%")]),
        (', a="1"', [("a", "1")]),
        (' ,, a="1",\t,b="2" , ', [("a", "1"), ("b", "2")]),
        ("a=1", [("a", "1")]),
        ('a=1,b=x%2By%3D , c="3"', [("a", "1"), ("b", "x+y="), ("c", "3")]),
        ("a=tnnArxj06cWHq44gCs1OSKk/jLY=", [("a", "tnnArxj06cWHq44gCs1OSKk/jLY=")]),
        (" " * 30_000 + 'a="1"', [("a", "1")]),
        ("," * 30_000, []),
        ('a="' + r"\x" * 30_000 + '"', [("a", "x" * 30_000)]),
    ],
)
def test_headers(text, pairs):
    assert parse_header(text) == pairs


@cases(
    "text",
    [
        "a",
        "a=",
        "a=,",
        "a=1 2",
        r'a="1\"',
        'a="' + "\\" * 30_001,
        'a="',
        'a="1',
        'a=1"',
        'a="%zz"',
        'a="%4"',
        "a='1'",
        '"a"="1" x',
        'a="1" b="2"',
        'a="1"b="2"',
        'a b="1"',
        'a="1", b',
        "a" + " " * 30_000,
        " " * 30_000 + "a",
        "a=" * 15_000,
    ],
)
def test_headers_that_cannot_be_read(text):
    with pytest.raises(MalformedParameters):
        parse_header(text)


@cases(
    ("scheme", "host", "path", "expected"),
    [
        ("http", "EXAMPLE.com", "/a", "http://example.com/a"),
        ("HTTP", "example.com:80", "/a", "http://example.com/a"),
        ("https", "example.com:443", "/a", "https://example.com/a"),
        ("https", "example.com:80", "/a", "https://example.com:80/a"),
        ("http", "example.com:443", "/a", "http://example.com:443/a"),
        ("http", "example.com:8080", "/a", "http://example.com:8080/a"),
        ("http", "example.com", "", "http://example.com/"),
        ("http", "[::1]:80", "/", "http://[::1]/"),
        ("http", "example.com", "/r%20v/X", "http://example.com/r%20v/X"),
    ],
)
def test_base_urls(scheme, host, path, expected):
    assert base_url(scheme, host, path=path) == expected


def test_matching():
    assert signatures_match("abc=", "abc=")
    assert not signatures_match("abc=", "abc")
    assert not signatures_match("abc=", "")
    assert not signatures_match("abc=", "é" * 100)
    assert not signatures_match("abc=", "ABC=")


# Properties. oauthlib is the reference for all input that it accepts.

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
PAIRS = st.lists(st.tuples(NAMES, TEXT), max_size=8)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "get", "Post"])
LABEL = st.text(string.ascii_letters + string.digits, min_size=1, max_size=10)
HOSTS = st.builds(
    lambda labels, port: ".".join(labels) + port,
    st.lists(LABEL, min_size=1, max_size=3),
    st.sampled_from(["", ":80", ":443", ":8080"]),
)
PATHS = st.lists(st.text("abcXYZ019-._~%2F", max_size=6).map(encode), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=40)


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_decoding_undoes_encoding(text):
    assert decode(encode(text)) == text
    assert encode(text).isascii()


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_a_form_is_read_back(pairs):
    text = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)
    assert parse_form(text) == pairs


@settings(max_examples=100, deadline=None)
@given(PAIRS, st.sampled_from([",", ", ", " ,"]))
def test_a_header_is_read_back(pairs, comma):
    text = comma.join(f'{encode(name)}="{encode(value)}"' for name, value in pairs)
    assert parse_header(text) == [pair for pair in pairs if pair[0].lower() != "realm"]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_form, parse_header, decode):
        with contextlib.suppress(MalformedParameters):
            parse(text)


@settings(max_examples=100, deadline=None)
@given(METHODS, st.sampled_from(["http", "https"]), HOSTS, PATHS, PAIRS, SECRETS, SECRETS)
def test_signatures_equal_oauthlibs(method, scheme, host, path, pairs, secret, token_secret):
    theirs = reference.signature_base_string(
        method,
        reference.base_string_uri(f"{scheme}://{host}{path}"),
        reference.normalize_parameters(pairs),
    )
    ours = base_string(method, base_url(scheme, host, path=path), parameters=pairs)
    assert ours == theirs
    client = Client("", client_secret=secret, resource_owner_secret=token_secret)
    expected = reference.sign_hmac_sha1_with_client(theirs, client)
    assert sign(ours, secret, token_secret=token_secret) == expected


@settings(max_examples=100, deadline=None)
@given(PAIRS, PAIRS, st.dictionaries(LABEL, TEXT, max_size=8))
def test_collected_parameters_equal_oauthlibs(query, form, header):
    """From header, query and form together. oauthlib does not decode the names in a header."""

    def joined(pairs):
        return "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)

    named = [(f"oauth_{name}", value) for name, value in header.items()]
    inner = ", ".join(f'{encode(name)}="{encode(value)}"' for name, value in named)
    theirs = reference.collect_parameters(
        uri_query=joined(query),
        body=joined(form),
        headers={"Authorization": f"OAuth {inner}"} if named else {},
        exclude_oauth_signature=False,
    )
    ours = [*parse_header(inner), *parse_form(joined(query)), *parse_form(joined(form))]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("text", ["&".join(["a"] * 1001), "a=" + "%00" * 22_000, "&" * 1000])
def test_the_size_of_a_form_is_limited(text):
    """Its sender is not authenticated yet, so the work to parse it must be bounded."""
    with pytest.raises(MalformedParameters, match="more than"):
        parse_form(text)


def test_a_form_of_the_largest_size_is_read():
    assert len(parse_form("&".join(["a=b"] * 1000))) == 1000
