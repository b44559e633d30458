"""The pages' templates, rendered with minimal and with hostile context."""

import re
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import jinja2
import numpy as np
import pytest

import openengagement
from openengagement.apps.app_form import ACCESS_LEVEL_TEXTS
from openengagement.engagement.types import TYPE_NAMES
from openengagement.language.negotiation import load_languages
from openengagement.look import Look
from openengagement.portal.bar_charts import draw_bars, draw_spark
from openengagement.portal.chart_figures import Chart, Times
from openengagement.portal.chart_views import describe_chart
from openengagement.portal.environment import make_environment
from openengagement.portal.months import format_month
from openengagement.portal.overview_figures import list_actions, make_bars, make_figures, make_heat
from openengagement.portal.periods import read_period
from openengagement.portal.series import RATE, format_number, read_chart_query
from openengagement.portal.style_guide import StyleGuide
from openengagement.portal.tweet_views import TweetView
from openengagement.portal.zones import UTC_ZONE, Zone
from openengagement.registry.apps import AppForm
from openengagement.registry.shares import Share
from support.cases import cases

PORTAL = Path(openengagement.__file__).parent / "portal"
SCRIPT = '"><script>alert(1)</script>'
LONG = "W" * 128
RIGHT_TO_LEFT = "\u202eتطبيق القياسات"
EMOJI = "\U0001f468\u200d\U0001f680"
HOSTILE_NAMES = [
    SCRIPT,
    LONG,
    RIGHT_TO_LEFT,
    EMOJI,
    "{{ 7919 * 7907 }}",
    "&lt;b&gt;",
    "\u0301" * 64,
    " ",
]
VOID = {"circle", "img", "input", "link", "meta", "path", "rect"}


class Page(HTMLParser):
    """A rendered page: its elements as (tag, attributes), and the texts of elements with an id."""

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.elements = []
        self.open = []
        self.text_of = {}
        self.feed(html)
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice on <{tag}>: {names}"
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        opened, _ = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data):
        for _, element_id in self.open:
            if element_id:
                self.text_of[element_id] = self.text_of.get(element_id, "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def with_id(self, element_id):
        found = [(tag, a) for tag, a in self.elements if a.get("id") == element_id]
        assert len(found) == 1, f"{len(found)} elements with the id {element_id}"
        return found[0]

    def form(self, action):
        """The named controls of the first form that posts to this path."""
        posting = [f["action"] for f in self.all("form") if f["method"] == "post"]
        assert action in posting, f"no form posts to {action}"
        return self.controls(action)

    def controls(self, action):
        """The named controls of the first form that leads to this path."""
        kinds = {"form", "input", "textarea", "button"}
        tags = [(tag, a) for tag, a in self.elements if tag in kinds]
        starts = [i for i, (tag, a) in enumerate(tags) if a.get("action") == action]
        controls = []
        for tag, attributes in tags[starts[0] + 1 :]:
            if tag == "form":
                break
            if "name" in attributes:
                controls.append((attributes["name"], attributes.get("value", "")))
        return controls


ENVIRONMENT = make_environment(jinja2.FileSystemLoader(PORTAL / "templates"))


def asset(name):
    if name == "messages-en.js":  # made by `portal.assets`
        return f"/static/{name}"
    assert (PORTAL / "static" / name).is_file(), f"no static file {name}"
    return f"/static/{name}"


BASE = {
    "title": "A page",
    "viewer": None,
    "csrf_token": "csrf",
    "asset": asset,
    "platform_name": "Open Engagement",
    "look": Look(),
    "languages": load_languages().offered.values(),
    "this_page": "",
    "here": "/",
    "scripts": (),
    "author": None,
    "owners": (),
    "base": "",
    "waiting_apps": 0,
}
WHEN = int(datetime(2026, 11, 2, 9, 5, 59, tzinfo=UTC).timestamp())


def app_named(name, **more):
    return {"name": name, "website": None, "owner": "o", "description": None} | more


def held_app(name, **more):
    held = {
        "app_id": "10000001",
        "access_level": "read",
        "created_at_s": WHEN,
        "suspended": False,
        "last_used_s": None,
    }
    return app_named(name) | held | more


def session(**more):
    times = {"created_at_s": WHEN, "last_seen_s": WHEN}
    return {"id": "s1", "browser": "Firefox on Linux"} | times | more


ALICE = {"screen_name": "alice", "role": "member"}
SIGN_IN = {
    "error": None,
    "faults": {},
    "kept": None,
    "done": False,
    "screen_name": "",
    "return_to": "/settings/apps",
    "app": None,
    "oidc": False,
    "oidc_name": "",
    "password_sign_in": True,
}
CONSENT = {
    "app": app_named("Birdseye"),
    "viewer": ALICE,
    "oauth_token": "request-token",
    "can": [],
    "cannot": [],
    "returns_to": None,
}
REQUEST = {"path": "/insights/engagement/28hr", "body": "{}", "curl": "curl -d '{}'"}
ASKED = read_chart_query([("tweet_ids", "5,6")])
NO_ROWS = {
    "viewer": ALICE,
    "state": "table",
    "listed_max": None,
    "tweets": 0,
    "columns": [],
    "posted": {"name": "posted", "label": "Posted", "sorted": None, "resort": "posted"},
    "rows": [],
    "picked": (),
    "picked_elsewhere": [],
    "picked_max": 25,
    "sort": {},
    "page": 1,
    "pages": 1,
    "has_dashes": False,
    "q": "",
    "csv": "/explore/tweets.csv",
    "request": REQUEST,
    "period": None,
    "periods": [{"name": "28d", "label": "28 days", "href": "/explore", "current": True}],
    "is_custom": False,
    "kept": {},
    "zone": UTC_ZONE,
    "other_zone": None,
    "picked_all": False,
    "show_all": "/explore",
    "clear": "/explore",
}
REFUSED_CHART = {
    "viewer": ALICE,
    "faults": {"end": "Choose the first day or a later one."},
    "protected": False,
    "query": ASKED,
    "tabs": [{"title": "Last 28 hours", "href": "/explore/compare?a=b&c=d", "current": True}],
    "metrics": {"impressions": "Impressions"},
    "today": "2026-11-22",
    "choose": "/explore?tweet_ids=5",
    "readers_zone": UTC_ZONE,
    "other_lines": "/explore/compare?lines=all",
}
NOW_S = 1_795_342_000
PERIOD = read_period({}, now_s=NOW_S, floor_s=0)
OVERVIEW = {
    "viewer": ALICE,
    "state": "empty",
    "period": PERIOD,
    "periods": [{"name": "28d", "label": "28 days", "href": "/overview", "current": True}],
    "is_custom": False,
    "kept": {},
    "kept_period": {},
    "zone": UTC_ZONE,
    "other_zone": None,
    "number": format_number,
}


def style_guide():
    """The context of the style guide."""
    caught = {}
    renderer = SimpleNamespace(render=lambda *_, context: caught.update(context))
    StyleGuide(renderer, now_s=lambda: NOW_S).show(SimpleNamespace())
    return caught


APP_HOME = "/portal/apps/10000001"
FORM = AppForm("", 1, ())


def own_app(name="Birdseye", **more):
    own = {
        "id": 10000001,
        "website": None,
        "description": None,
        "state": "waiting",
        "per_minute": 6000,
        "created_at_s": WHEN,
    }
    return {"name": name} | own | more


APP_FORM = {"viewer": ALICE, "form": FORM, "faults": {}, "access_levels": ACCESS_LEVEL_TEXTS}
APP_FORM |= {"complete": True}
SETTINGS = APP_FORM | {"app": own_app(), "saved": False, "here": APP_HOME}
KEYS = {
    "viewer": ALICE,
    "app": own_app(),
    "here": f"{APP_HOME}/keys",
    "key_hint": "abcd…wxyz",
    "has_bearer": False,
    "token": None,
    "access_level": "read",
    "access_levels": ACCESS_LEVEL_TEXTS,
    "shown": {},
    "origin": "http://127.0.0.1:8080",
    "tweet_id": "",
    "answered": 0,
}
CONSOLE = {
    "viewer": ALICE,
    "app": own_app(),
    "here": f"{APP_HOME}/console",
    "has_token": False,
    "fields": defaultdict(str),
    "faults": {},
    "exchange": None,
    "endpoints": {"totals": "Totals"},
    "type_names": ["favorites"],
    "levels": ["group_1"],
    "dimensions": ["tweet.id"],
}
APP_USAGE = {
    "viewer": ALICE,
    "app": own_app(),
    "here": f"{APP_HOME}/usage",
    "window": {"limit": 6000, "used": 1, "remaining": 5999, "reset_s": WHEN},
    "months": {},
    "handles_contracted": None,
    "format_month": format_month,
    "refusals": [],
    "days": 28,
}
CALLBACK = {
    "viewer": ALICE,
    "app": own_app(),
    "here": f"{APP_HOME}/callback",
    "registered": [],
    "callback": "oob",
    "outcome": None,
    "faults": {},
}
SECRETS = {
    "consumer_key": "the-key",
    "consumer_secret": "the-secret",
    "bearer_token": "the-bearer",
    "access_token": "1-the-token",
    "access_token_secret": "the-token-secret",
}
TOKEN = {"access_level": "read", "created_at_s": WHEN, "last_used_s": None}
MIRA = {"screen_name": "mira", "role": "manager"}


def listed_app(name, **more):
    """An app as the manager's console lists it."""
    return {
        "id": 10000001,
        "name": name,
        "owner": "o",
        "state": "enabled",
        "per_minute": None,
        "created_at_s": WHEN,
        "website": None,
        "description": None,
        "access_level": "read",
        "requests": 0,
        "refused": 0,
        "handles_contracted": None,
    } | more


def app_usage(name, contracted=None, **used):
    """An app and its usage in a month."""
    used = {"requests": 0, "refused": 0, "errors": {}, "handles": 0} | used
    app = {"app_id": 10000001, "name": name, "owner": name, "exists": True}
    return app | {"handles_contracted": contracted, "used": used}


def logged(subject="Birdseye", **more):
    """An entry of the audit log."""
    entry = {"at_s": WHEN, "actor": "mira", "actor_id": 7, "action": "enable", "before": "no"}
    entry |= {"after": "yes", "app_id": 10000001, "subject": subject, "has_app": True} | more
    return entry | {"has_app": entry["has_app"] and entry["app_id"] is not None}


MANAGE = {
    "view": "",
    "viewer": MIRA,
    "faults": {},
    "typed": {},
    "notice": None,
    "waiting": [],
    "waiting_in_all": 0,
    "default_limit": 6000,
    "fingerprint": lambda _app: "tag",
    "apps": [],
    "handles": {},
    "counts": {"waiting": 0, "enabled": 0, "disabled": 0, "suspended": 0},
    "state": "",
    "q": "",
    "page": 1,
    "pages": 0,
    "month": "November 2026",
}
NO_NUMBERS = dict.fromkeys(
    ("per_minute", "was_per_minute", "handles_contracted", "was_handles_contracted"), ""
)
MANAGE_APP = {
    "view": "",
    "viewer": MIRA,
    "notice": None,
    "app": app_named("Birdseye")
    | {"id": 10000001, "state": "waiting", "enabled": False, "suspended": False}
    | {"created_at_s": WHEN, "seen": "tag", "access_level": "read"},
    "default_limit": 6000,
    "numbers": NO_NUMBERS,
    "faults": {},
    "format_month": format_month,
    "months": {"2026-11": {"requests": 0, "refused": 0, "errors": {}, "handles": 0}},
    "handles_contracted": None,
    "month": "2026-11",
    "handles": [],
    "handles_in_all": 0,
    "entries": [],
}
MANAGE_USAGE = {
    "viewer": MIRA,
    "format_month": format_month,
    "month": "2026-11",
    "before": "2026-10",
    "after": None,
    "apps": [],
    "requests": 0,
    "refused": 0,
    "over": 0,
    "page": 1,
    "pages": 0,
}
MANAGE_SYSTEM = {
    "viewer": MIRA,
    "ingestion": None,
    "items": {"accounts": 3, "new_figure": 1},
    "item_names": {"accounts": "Accounts"},
    "disk": {"data_bytes": 5, "disk_bytes": 5_000_000, "free_bytes": 5_000_000_000},
    "notices": [],
}
MANAGE_KEYS = {
    "viewer": MIRA,
    "keys": [],
    "scopes": {"events": "Send events"},
    "all_scopes": "events",
    "shown": {},
    "typed": {},
    "faults": {},
    "name_length_max": 128,
}
MANAGE_WEBHOOKS = {
    "view": "",
    "viewer": MIRA,
    "webhooks": [],
    "mail": {"id": "mail", "receivers": (), "failed": 0},
    "types": {"app.waiting": "An app waits"},
    "deliveries": [],
    "hosts": {},
    "target": "",
    "state": "",
    "states": {"failed": "Failed", "waiting": "Waiting"},
    "shown": {},
    "typed": {},
    "faults": {},
    "url_length_max": 2048,
}
MANAGE_ACCOUNTS = {
    "action": "/manage/accounts?q=a&page=2",
    "changed": None,
    "viewer": MIRA,
    "accounts": [],
    "total": 0,
    "roles": ["member", "manager"],
    "q": "",
    "role": "",
    "page": 1,
    "pages": 0,
    "url": "/manage/accounts?page=",
    "own_id": 1,
}
SHARING = {
    "viewer": ALICE,
    "viewers": [],
    "shared_with_me": [],
    "most": 20,
    "screen_name": "",
    "fault": None,
    "shared": "",
}
SECURITY = {
    "viewer": ALICE,
    "has_password": True,
    "mail": None,
    "is_on": False,
    "codes": [],
    "codes_left": 0,
    "done": "",
    "needed": False,
    "fault": None,
}
SECOND_FACTOR = {
    "viewer": ALICE,
    "secret": "ABCD EFGH",
    "qr_size": 29,
    "qr_path": "M4 4h1v1h-1z",
    "fault": None,
}
RESET = {
    "is_available": True,
    "screen_name": "",
    "sent_to": "",
    "minutes": 30,
    "error": None,
}
MINIMAL = {
    "sharing.html": SHARING,
    "security.html": SECURITY,
    "second_factor.html": SECOND_FACTOR,
    "sign_in_code.html": {"error": None, "screen_name": "alice"},
    "password_reset.html": RESET,
    "new_password.html": {"token": "t", "screen_name": "alice", "fault": None},
    "welcome.html": {},
    "overview.html": OVERVIEW,
    "style_guide.html": style_guide(),
    "explore.html": NO_ROWS,
    "explore_compare.html": REFUSED_CHART,
    "developer_apps.html": {"viewer": ALICE, "apps": [], "most": 10},
    "developer_new.html": APP_FORM,
    "developer_settings.html": SETTINGS,
    "developer_keys.html": KEYS,
    "manage.html": MANAGE,
    "manage_app.html": MANAGE_APP,
    "manage_usage.html": MANAGE_USAGE,
    "manage_audit.html": {"viewer": MIRA, "entries": [], "older": None, "newest": True, "q": ""},
    "manage_system.html": MANAGE_SYSTEM,
    "manage_keys.html": MANAGE_KEYS,
    "manage_webhooks.html": MANAGE_WEBHOOKS,
    "manage_accounts.html": MANAGE_ACCOUNTS,
    "developer_console.html": CONSOLE,
    "developer_usage.html": APP_USAGE,
    "developer_callback.html": CALLBACK,
    "sign_in.html": SIGN_IN,
    "consent.html": CONSENT,
    "pin.html": {"app": app_named("Birdseye"), "pin": "0481923"},
    "denied.html": {"app": app_named("Birdseye"), "link": None},
    "account.html": {"viewer": ALICE, "apps": [], "sessions": [], "current_id": "s1"},
    "error.html": {
        "status": 403,
        "heading": "This link no longer works",
        "text": "Start again.",
        "request_id": "",
    },
}


def tweet_view(tweet_id, text, **more):
    """A Tweet with every optional part, or without any."""
    url = f"https://example.com/{text}" if text else ""
    whole = {"text": text, "url": url, "host": text, "image": url, "name": text or tweet_id}
    return TweetView(**{"tweet_id": tweet_id, "posted_at_s": WHEN, **whole, **more})


def table_of(text):
    """The table of Tweets with every optional part."""
    column = {"name": text, "label": text, "sorted": "descending", "resort": text}
    rows = [
        {"tweet": each, "figures": {text: value}}
        for each, value in (
            (tweet_view("5", text), 1234),
            (tweet_view("6", ""), None),
            (tweet_view("7", "Fog."), 0.5),
        )
    ]
    more = {"sort": {"sort": text}, "request": REQUEST | {"body": text, "curl": text}}
    return (
        NO_ROWS
        | more
        | {
            "listed_max": 2000,
            "tweets": 3,
            "columns": [column],
            "rows": rows,
            "picked": ("5",),
            "picked_elsewhere": [text],
            "pages": 3,
            "has_dashes": True,
            "q": text,
            "period": replace(PERIOD, faults={"first": text, "last": text}, first=text),
            "kept": {"sort": text},
            "zone": Zone(text, UTC, chosen=True, local=text),
            "other_zone": {"label": "UTC", "href": f"/explore?a={text}"},
            "picked_all": True,
            "show_all": f"/explore?a={text}",
            "clear": f"/explore?a={text}",
        }
    )


def overview_of(text):
    """The overview with every optional part."""
    period = replace(PERIOD, faults={"first": text, "last": text}, first=text, last=text)
    hours = np.zeros((period.end_hour - period.start_hour, len(TYPE_NAMES)), np.int64)
    hours += np.arange(len(TYPE_NAMES)) + 1
    figures = make_figures(hours, hours // 2)
    bars = make_bars("impressions", period, now=hours, before=hours // 2)
    row = {
        "figure": figures["replies"],
        "spark": draw_spark([bar.value for bar in bars]),
        "href": f"/overview?a={text}",
    }
    best = {"tweet": tweet_view("5", text), "value": 5, "share": 1.0, "chart": f"a={text}"}
    return OVERVIEW | {
        "state": "figures",
        "period": period,
        "kept": {"metric": text, "by": text},
        "kept_period": {"period": text, "first": text},
        "counted_until": "17:20 UTC",
        "zone": Zone(text, UTC, chosen=True, local=text),
        "other_zone": {"label": "UTC", "href": f"/overview?a={text}"},
        "tweets": 20_000,
        "more": True,
        "published": 3,
        "headline": figures["impressions"],
        "chart": draw_bars(bars, period, is_rate=False),
        "ledger": [row | {"current": True}],
        "rest": [figures["media_views"]],
        "uncounted": [text],
        "best": [best | {"side": {"replies": 1, RATE: None}}],
        "ranked_by": "impressions",
        "list_query": f"sort={text}",
        "side": [("replies", "Replies"), (RATE, "Rate")],
        "metrics": {"impressions": "Impressions"},
        "heat": make_heat(period, hours),
        "actions": list_actions(figures),
        "engagements": figures["engagements"],
        "csv": f"/overview.csv?a={text}",
    }


def chart_of(text):
    """A chart with every optional part except an error."""
    given = {"tweet_ids": text, "metric": text, "start": text, "end": text}
    query = read_chart_query(given.items())
    chart = Chart(
        window_start_s=1_795_212_000,
        window_end_s=1_795_222_800,
        times=Times(["2026-11-20"], [1_795_132_800], NOW_S + 1, [0, 1]),
        columns=[text],
        rows=[(1,)],
        ranking=[],
        total=1,
        unavailable=[text],
        too_old=[text],
        foreign=[text],
    )
    zone = Zone(text, UTC, chosen=True, local=text)
    view = describe_chart(query, chart, names=[text], zone=zone, now_s=NOW_S)
    return REFUSED_CHART | {
        "faults": {},
        "query": query,
        "chart": chart,
        "view": replace(view, largest=5, nothing=True),
        "window_s": [WHEN, WHEN],
        "too_old": [text],
        "file": text,
        "zone": zone,
        "other_zone": {"label": "UTC", "href": f"/explore/compare?a={text}"},
        "ranking": [{"tweet": tweet_view("5", text), "value": "1", "share": 1.0}],
        "csv": f"/explore/compare.csv?a={text}",
        "request": REQUEST | {"body": text, "curl": text},
    }


def shared_by(text):
    """The context of a page with the figures of somebody else."""
    owners = [Share(at, text, WHEN, None) for at in range(7, 17)]
    return {"author": owners[0], "owners": owners, "base": "/shared/7"}


def hostile(text):
    """Every page, with the same text wherever a stranger can choose it."""
    viewer = {"screen_name": text, "role": "manager"}
    web = f"https://{text}"
    app = app_named(text, website=web, owner=text, description=text)
    held = held_app(text, website=f"javascript:{text}", owner=text, last_used_s=WHEN)
    held["access_level"] = text
    own = own_app(text, website=web, description=text, state="enabled")
    form = AppForm(text, 1, [text, text], text, text, text, sign_in=True, submission=text)
    said = {"viewer": viewer, "form": form, "faults": {"website": text}}
    said |= {"access_levels": ACCESS_LEVEL_TEXTS, "complete": False}
    return {
        "welcome.html": {},
        "sharing.html": {
            "viewer": viewer,
            "viewers": [Share(7, text, WHEN, None)],
            "shared_with_me": [Share(8, text, WHEN, WHEN)],
            "screen_name": text,
            "fault": text,
            "shared": text,
        },
        "security.html": {
            "viewer": viewer,
            "mail": text,
            "is_on": True,
            "codes": [text, "b"],
            "codes_left": 1,
            "done": "on",
            "needed": True,
            "fault": ("off_code", text),
        },
        "second_factor.html": {"viewer": viewer, "secret": text, "fault": ("code", text)},
        "sign_in_code.html": {"viewer": viewer, "screen_name": text, "error": text},
        "password_reset.html": {"viewer": viewer, "screen_name": text, "error": text},
        "new_password.html": {"token": text, "screen_name": text, "fault": text},
        "overview.html": overview_of(text) | {"viewer": viewer, **shared_by(text)},
        "explore.html": table_of(text) | {"viewer": viewer},
        "explore_compare.html": chart_of(text) | {"viewer": viewer},
        "developer_apps.html": {
            "viewer": viewer,
            "apps": [own, own_app(text, state="suspended"), own_app(text)],
            "most": 3,
        },
        "developer_new.html": said,
        "developer_settings.html": SETTINGS | said | {"app": own, "saved": True},
        "developer_keys.html": KEYS
        | {
            "viewer": viewer,
            "app": own,
            "key_hint": text,
            "has_bearer": True,
            "token": TOKEN | {"last_used_s": WHEN},
            "access_levels": {"read": text},
            "shown": dict.fromkeys(SECRETS, text),
            "origin": text,
            "tweet_id": 2124462388521473622,
        },
        **hostile_app_pages(text, viewer, own=own),
        "sign_in.html": {
            "viewer": viewer,
            "error": text,
            "screen_name": text,
            "return_to": text,
            "app": app,
            "oidc": True,
            "oidc_name": text,
            "password_sign_in": True,
        },
        "consent.html": {
            "app": app,
            "viewer": viewer,
            "oauth_token": text,
            "can": [text],
            "cannot": [text],
            "returns_to": text,
        },
        "pin.html": {"app": app, "pin": text, "viewer": viewer},
        "denied.html": {"app": app, "link": web, "viewer": viewer},
        "account.html": {
            "viewer": viewer,
            "apps": [held, held_app(text, website=web)],
            "sessions": [session(browser=text), session(id=text)],
            "current_id": text,
        },
        "error.html": {
            "status": 400,
            "heading": text,
            "text": text,
            "viewer": viewer,
            "request_id": text,
        },
        **hostile_console(text, viewer),
        **hostile_more_console(text, viewer),
    }


def hostile_app_pages(text, viewer, *, own):
    """The console, the usage and the callback tester of an app with every optional part."""
    remedy = {"reason": text, "advice": text}
    exchange = {"status": 400, "code": text, "path": text, "body": text, "curl": text}
    exchange |= {"headers": [(text, text)], "answer": text, "is_cut": True, "duration_ms": 1.5}
    refused = {"at_s": WHEN, "code": text, "requests": 3, "remedy": remedy}
    used = {"requests": 41, "refused": 3, "errors": {text: 3}, "handles": 12}
    outcome = {"authorize_url": "", "status": 403, "code": text, "remedy": remedy}
    return {
        "developer_console.html": CONSOLE
        | {
            "viewer": viewer,
            "app": own,
            "faults": {"tweet_ids": text},
            "exchange": exchange | {"remedy": remedy},
        }
        | {"fields": defaultdict(str, dict.fromkeys(("tweet_ids", "start", "body"), text))},
        "developer_usage.html": APP_USAGE
        | {"viewer": viewer, "app": own, "months": {"2026-11": used}, "refusals": [refused]},
        "developer_callback.html": CALLBACK
        | {"viewer": viewer, "app": own, "callback": text, "registered": [text]}
        | {"outcome": outcome | {"near": text, "answer": text}},
    }


def hostile_more_console(text, viewer):
    """The console's system, platform keys and accounts with every optional part."""
    ingestion = dict.fromkeys(
        ("accepted", "rejected", "batches", "refused_batches", "waiting", "last_commit_s"), WHEN
    )
    ingestion |= {"started_s": WHEN, "per_second": 1.25}
    ingestion |= {"reasons": [{"reason": text, "count": 3, "hint": text}]}
    key = {"name": text, "id": "a0", "scopes": "events usage", "created_at_s": WHEN}
    key |= {"last_used_s": WHEN, "expires_at_s": WHEN}
    webhook = {"id": text, "host": text, "url": text, "created_at_s": WHEN}
    listed = {"webhook": webhook, "types": [text], "old_until_s": WHEN, "failed": 2}
    delivery = {"type": text, "created_at_s": WHEN, "attempts": 3, "next_at_s": WHEN}
    delivery |= {"target": text, "state": "waiting", "result": text}
    account = {"id": 1, "screen_name": text, "role": "manager", "protected": True}
    account |= {"created_at_s": WHEN}
    return {
        "manage_system.html": MANAGE_SYSTEM
        | {"viewer": viewer, "notices": [text], "ingestion": ingestion},
        "manage_keys.html": MANAGE_KEYS
        | {"viewer": viewer, "keys": [{"key": key, "expired": True}]}
        | {"shown": {"name": text, "id": "a0", "platform_key": text}}
        | {"typed": {"name": text, "days": text}, "faults": {"name": text}},
        "manage_webhooks.html": MANAGE_WEBHOOKS
        | {"viewer": viewer, "webhooks": [listed], "hosts": {text: text}}
        | {"mail": {"id": "mail", "receivers": (text,), "failed": 1}, "target": text}
        | {"deliveries": [delivery, delivery | {"target": "mail", "state": "failed"}]}
        | {"shown": {"id": text, "secret": text}, "typed": {"url": text}}
        | {"faults": {"url": text}},
        "manage_accounts.html": MANAGE_ACCOUNTS
        | {"viewer": viewer, "accounts": [account, account | {"id": 2}], "total": 2, "q": text}
        | {"page": 2, "pages": 3, "changed": account},
    }


def hostile_console(text, viewer):
    """The manager's console with every optional part."""
    used = {"requests": 41, "refused": 3, "errors": {"rate_limited": 3}, "handles": 12}
    apps = [
        listed_app(text, owner=text, requests=41, refused=3, handles_contracted=10)
        | {"website": f"javascript:{text}", "description": text},
        listed_app(text, id=10000002, state="suspended", per_minute=7, handles_contracted=500),
    ]
    notice = {"app": text, "text": "is enabled."}
    log = [logged(text, actor=text, action=each) for each in ("enable", "limit", "role", text)]
    log.append(logged(text, before=None, action="handles", actor="command line", actor_id=None))
    return {
        "manage.html": {
            "viewer": viewer,
            "notice": notice,
            "waiting": apps,
            "waiting_in_all": 40,
            "apps": apps,
            "handles": {10000001: 12},
            "q": text,
            "state": "waiting",
            "page": 2,
            "pages": 3,
        },
        "manage_app.html": {
            "viewer": viewer,
            "notice": notice,
            "app": MANAGE_APP["app"]
            | app_named(text, website=f"javascript:{text}", owner=text, description=text)
            | {"state": "enabled", "enabled": True},
            "numbers": dict.fromkeys(NO_NUMBERS, text),
            "faults": {"per_minute": text},
            "months": {"2026-11": used},
            "handles_contracted": 10,
            "handles": [text, text],
            "handles_in_all": 3,
            "entries": log,
        },
        "manage_usage.html": {
            "viewer": viewer,
            "after": "2026-11",
            "apps": [app_usage(text, 10, **used), app_usage(text, 500)],
            "requests": 41,
            "page": 2,
            "pages": 3,
        },
        "manage_audit.html": {
            "viewer": viewer,
            "entries": log,
            "older": 7,
            "newest": False,
            "q": text,
        },
    }


def render(template, **context):
    return Page(ENVIRONMENT.get_template(template).render(BASE | MINIMAL[template] | context))


def every_page():
    yield from ((name, "minimal", context) for name, context in MINIMAL.items())
    for text in HOSTILE_NAMES:
        worst = {"title": text, "platform_name": text, "csrf_token": text}
        yield from ((name, ascii(text)[:12], c | worst) for name, c in hostile(text).items())


PAGES = {f"{name}-{kind}": (name, context) for name, kind, context in every_page()}


@cache
def page_of(name):
    """Render a page. Several tests check it."""
    template, context = PAGES[name]
    return render(template, **context)


def test_every_template_is_tested():
    """Every template takes part in the checks below."""
    pages = {path.name for path in (PORTAL / "templates").glob("*.html")}
    shared = {"base.html", "_macros.html", "_explore.html", "_developer.html", "_whose.html"}
    shared |= {"_settings.html"}
    # Other parts of the portal may have further templates with tests of their own.
    assert pages & (set(MINIMAL) | shared) == set(MINIMAL) | shared


@cases("name", PAGES)
def test_no_page_has_inline_code_or_foreign_resources(name):
    """The content security policy would block inline code and foreign resources."""
    page = page_of(name)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"style", "iframe", "object", "embed", "base"}
    for picture in page.all("img"):  # of a Tweet, from a host that the operator allows
        assert picture["src"].startswith("https://")
        assert (picture["alt"], picture["referrerpolicy"]) == ("", "no-referrer")
    for script in page.all("script"):
        assert script.keys() == {"src", "defer"}
    assert "b" not in tags, "an entity in a name was decoded into markup"
    for tag, attributes in page.elements:
        inline = {n for n in attributes if n == "style" or n.startswith("on")}
        assert not inline, f"<{tag}> has {inline}"
        loaded = attributes.get("src" if tag != "img" else "") or (
            attributes.get("href") if tag == "link" else None
        )
        assert loaded is None or loaded.startswith("/static/")
        assert not attributes.get("href", "").startswith("javascript:")
        assert attributes.get("target") is None or "noopener" in attributes["rel"]
    assert "<script>" not in page.html
    assert "62615533" not in page.text_of["main"]  # 7919 * 7907


@cases("name", PAGES)
def test_every_page_has_the_basic_structure(name):
    """Language, one title, one heading, one main element, and a link that skips to it."""
    page = page_of(name)
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("title")) == len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("a")[0]["href"] == "#main"
    assert page.with_id("main")[0] == "main"
    headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(deeper <= before + 1 for before, deeper in pairwise(headings))


@cases("name", PAGES)
def test_every_reference_names_an_existing_element(name):
    """Labels, descriptions and landmarks name existing elements, and ids are unique."""
    page = page_of(name)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for reference in ("for", "aria-describedby", "aria-labelledby"):
            assert set(attributes.get(reference, "").split()) <= set(ids)


@cases("name", PAGES)
def test_every_input_is_labelled(name):
    """A label names the input or contains it."""
    page = page_of(name)
    labelled = {label["for"] for label in page.all("label") if "for" in label}
    for field in [f for kind in ("input", "textarea", "select") for f in page.all(kind)]:
        inside = field.get("type") in {"radio", "checkbox"} and re.search(
            rf'<label class="choice"><input type="{field["type"]}" name="{field["name"]}"',
            page.html,
        )
        assert field.get("type") == "hidden" or inside or field["id"] in labelled


SEARCHES = (
    "/explore",
    "/manage#",
    "/manage/audit",
    "/manage/accounts",
    "/manage/webhooks#",
    "/overview",
    "/shared/",
)


@cases("name", PAGES)
def test_every_form_that_posts_has_the_csrf_token(name):
    """A GET form has none, because the token would be part of the URL."""
    page = page_of(name)
    forms = page.all("form")
    assert {form["method"] for form in forms} <= {"get", "post"}
    for form in forms:
        if form["method"] == "get":
            assert form["action"].startswith(SEARCHES)
            assert "csrf_token" not in [name for name, _ in page.controls(form["action"])]
    tokens = [i for i in page.all("input") if i.get("name") == "csrf_token"]
    assert len(tokens) == len([form for form in forms if form["method"] == "post"])


@cases("name", HOSTILE_NAMES)
def test_hostile_text_is_shown_unchanged_and_never_runs(name):
    """Text is shown without running it, and a form sends back exactly what it received."""
    page = render("consent.html", **hostile(name)["consent.html"])
    assert dict(page.form("/oauth/authorize"))["oauth_token"] == name
    page = render("sign_in.html", **hostile(name)["sign_in.html"])
    assert dict(page.form("/sign-in"))["return_to"] == name
    assert page.with_id("screen_name")[1]["value"] == name


def test_names_are_isolated_from_the_text_around_them():
    page = render("consent.html", app=app_named(RIGHT_TO_LEFT))
    assert f'<bdi class="name" translate="no">{RIGHT_TO_LEFT}</bdi>' in page.html


def test_sign_in_fields():
    page = render("sign_in.html", return_to="/oauth/authorize?oauth_token=t&force_login=true")
    assert page.form("/sign-in") == [
        ("csrf_token", "csrf"),
        ("return_to", "/oauth/authorize?oauth_token=t&force_login=true"),
        ("screen_name", ""),
        ("password", ""),
    ]
    screen_name, password = page.with_id("screen_name")[1], page.with_id("password")[1]
    assert screen_name["autocomplete"] == "username"
    assert password["autocomplete"] == "current-password"
    assert password["type"] == "password"
    assert "autofocus" in screen_name
    assert "autofocus" not in password


def test_sign_in_with_a_screen_name_asks_for_the_password():
    page = render("sign_in.html", screen_name="alice")
    assert page.with_id("screen_name")[1]["value"] == "alice"
    assert "autofocus" not in page.with_id("screen_name")[1]
    assert "autofocus" in page.with_id("password")[1]


def test_sign_in_error_is_announced():
    page = render("sign_in.html", error="That did not work.")
    assert page.with_id("sign-in-error")[1]["role"] == "alert"
    for field in ("screen_name", "password"):
        attributes = page.with_id(field)[1]
        assert attributes["aria-describedby"] == "sign-in-error"
        assert attributes["aria-invalid"] == "true"
    assert "<title>Error: A page" in page.html


@pytest.mark.parametrize("password_sign_in", [True, False])
def test_sign_in_with_a_provider(password_sign_in):
    context = {"oidc": True, "oidc_name": "Example", "password_sign_in": password_sign_in}
    page = render("sign_in.html", **context)
    expected = [("csrf_token", "csrf"), ("return_to", "/settings/apps")]
    assert page.form("/sign-in/oidc") == expected
    assert ("/sign-in" in [form["action"] for form in page.all("form")]) is password_sign_in
    primary = [b for b in page.all("button") if "primary" in b["class"].split()]
    assert len(primary) == 1


def test_the_sign_in_page_says_when_no_method_is_set_up():
    page = render("sign_in.html", password_sign_in=False)
    assert page.all("form") == []
    assert "Signing in is not set up yet" in page.html


def test_sign_in_names_the_app_that_asks():
    page = render("sign_in.html", app=app_named("Birdseye", website="https://birdseye.example/a"))
    assert "Birdseye" in page.text_of["main"]
    assert "birdseye.example/a" in page.text_of["main"]


def test_consent_fields():
    page = render("consent.html")
    assert page.form("/oauth/authorize") == [
        ("csrf_token", "csrf"),
        ("oauth_token", "request-token"),
        ("decision", "authorize"),
        ("decision", "cancel"),
    ]
    assert not any("autofocus" in a for _, a in page.elements), (
        "pressing Enter must not give consent"
    )
    classes = {b["value"]: b["class"].split() for b in page.all("button") if "value" in b}
    assert "primary" in classes["authorize"]
    assert "primary" not in classes["cancel"]


def test_consent_shows_the_app_and_its_permissions():
    app = app_named("Birdseye", website="http://birdseye.example", owner="hq", description="Nice.")
    page = render(
        "consent.html", app=app, can=["Count"], cannot=["Post"], returns_to="callback.example"
    )
    text = page.text_of["main"]
    words = ["Birdseye", "http://birdseye.example", "@hq", "Nice.", "@alice", "Count", "Post"]
    assert [w for w in [*words, "callback.example"] if w not in text] == []


def test_consent_offers_to_switch_accounts():
    page = render("consent.html", oauth_token="a&b=c/d")
    links = [a["href"] for a in page.all("a")]
    assert "/sign-in?return_to=/oauth/authorize%3Foauth_token%3Da%2526b%253Dc/d" in links


def test_consent_announces_a_pin_without_a_callback():
    assert "PIN" in render("consent.html").text_of["next"]
    assert "PIN" not in render("consent.html", returns_to="x.example").text_of["next"]


def test_the_pin_element_holds_only_digits():
    page = render("pin.html")
    assert page.text_of["pin"] == "0481923"


def test_the_denial_page_links_back_to_the_app():
    link = "https://birdseye.example/cb?x=1&denied=t"
    tag, attributes = render("denied.html", link=link).with_id("denied-link")
    assert (tag, attributes["href"]) == ("a", link)
    assert "denied-link" not in render("denied.html").html


def test_pages_have_one_width():
    """Dialogs are narrower: signing in, consent, errors."""
    widths = {}
    for path in sorted((PORTAL / "templates").glob("[!_]*.html")):
        for width in re.findall(r"block width %}(\w+)", path.read_text()):
            widths.setdefault(width, []).append(path.name)
    assert widths.keys() == {"page", "sheet", "narrow", "medium"}
    assert (widths["narrow"], widths["medium"]) == (["base.html"], ["consent.html"])


def test_the_account_page_can_revoke_apps():
    page = render("account.html", apps=[held_app("Birdseye", last_used_s=WHEN)])
    expected = [("csrf_token", "csrf"), ("app_id", "10000001")]
    assert page.form("/settings/apps/revoke") == expected
    assert "Read only" in page.html
    assert '<time datetime="2026-11-02T09:05:59Z">2 Nov 2026, 09:05 UTC</time>' in page.html
    assert len(page.all("time")) == 2


def test_every_session_but_the_present_one_can_be_ended():
    page = render("account.html", sessions=[session(), session(id="s2")])
    expected = [("csrf_token", "csrf"), ("session_id", "s2")]
    assert page.form("/settings/sessions/revoke") == expected
    ends = [f for f in page.all("form") if f["action"] == "/settings/sessions/revoke"]
    assert len(ends) == 1
    assert page.html.count("This session") == 1


def test_the_account_page_without_apps_explains_what_to_do():
    assert "start in the app itself" in render("account.html").text_of["main"]


def test_every_page_of_a_signed_in_person_can_sign_out():
    for template in MINIMAL:
        page = render(template, viewer=ALICE)
        assert page.form("/sign-out") == [("csrf_token", "csrf")]
        assert "@alice" in page.html


@cases(
    ("website", "is_link"),
    [
        ("https://a.example", True),
        ("http://a.example", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//a.example", False),
        (" https://a.example", False),
    ],
)
def test_only_http_urls_become_links(website, is_link):
    page = render("consent.html", app=app_named("Birdseye", website=website))
    assert (website in [a["href"] for a in page.all("a")]) is is_link


def test_protected_and_empty_accounts_get_an_explanation():
    for state, words in (("protected", "never served"), ("empty", "Tweets appear here")):
        page = render("explore.html", state=state)
        assert words in page.text_of["main"]
        assert page.all("table") == []


def test_a_sorted_table_announces_its_order():
    page = render("explore.html", **table_of("replies"))
    heads = [a for a in page.all("th") if a.get("scope") == "col"]
    assert [a.get("aria-sort") for a in heads] == [None, "descending"]
    assert page.with_id("pick-5")[1].keys() >= {"checked"}
    assert "checked" not in page.with_id("pick-6")[1]
    assert "1,234" in page.html
    assert "50.00%" in page.html
    assert "newest 2,000" in " ".join(page.text_of["main"].split())


def test_a_refused_chart_keeps_the_values_of_its_form():
    asked = read_chart_query({"tweet_ids": "5", "start": "2026-11-09", "metric": "replies"}.items())
    page = render("explore_compare.html", query=asked, metrics={"replies": "Replies"})
    assert page.with_id("faults")[1]["role"] == "alert"
    assert page.with_id("start")[1]["value"] == "2026-11-09"
    assert next(a["value"] for a in page.all("option") if "selected" in a) == "replies"
    assert "Error: " in page.html
    assert page.all("table") == []


# The developer portal.


def test_the_list_of_apps_explains_what_to_do_when_empty():
    page = render("developer_apps.html")
    assert "You have no apps yet" in page.text_of["main"]
    assert [a["href"] for a in page.all("a")].count("/portal/new") == 1


@pytest.mark.parametrize(("count", "may"), [(1, True), (2, True), (3, False), (4, False)])
def test_creating_an_app_is_offered_below_the_limit(count, may):
    page = render("developer_apps.html", apps=[own_app()] * count, most=3)
    assert ("/portal/new" in [a["href"] for a in page.all("a")]) is may
    assert ("an account may have at most 3" in page.text_of["main"]) is not may


def test_no_app_can_be_created_when_the_limit_is_zero():
    page = render("developer_apps.html", most=0)
    assert "/portal/new" not in page.html
    assert "Ask the operator of" in page.text_of["main"]


@pytest.mark.parametrize(
    ("state", "badge", "words"),
    [
        ("waiting", "Waiting for access", "once its App ID is enabled"),
        ("enabled", "Enabled", "for up to 12,000 requests a minute"),
        ("suspended", "Suspended", "is refused"),
    ],
)
def test_every_page_of_an_app_shows_its_state(state, badge, words):
    app = own_app(state=state, per_minute=12_000)
    for page in (
        render("developer_apps.html", apps=[app]),
        render("developer_settings.html", app=app),
        render("developer_keys.html", app=app),
    ):
        assert f">{badge}<" in page.html
    text = " ".join(render("developer_settings.html", app=app).text_of["main"].split())
    assert words in text
    listed = " ".join(render("developer_apps.html", apps=[app]).text_of["main"].split())
    assert ("12,000 requests a minute" in listed) is (state == "enabled")


def test_fields_of_an_app():
    page = render("developer_new.html")
    named = [name for name, _ in page.form("/portal/new")]
    levels = ["access_level"] * 3
    assert named == [
        *("csrf_token", "submission"),
        "name",
        "description",
        "website",
        "callbacks",
        *levels,
        *("sign_in", "complete"),
    ]
    checked = [i["value"] for i in page.all("input") if "checked" in i]
    assert checked == ["read", "on"], "the last one is `complete`"
    assert "required" in page.with_id("name")[1]
    assert not any("aria-invalid" in a for _, a in page.elements)


def test_the_form_of_an_app_holds_its_present_values():
    form = AppForm("N", 1, ["x://1", "x://2"], "https://w", "D", "read-write", sign_in=True)
    page = render("developer_settings.html", form=form, saved=True)
    assert page.with_id("name")[1]["value"] == "N"
    assert page.with_id("website")[1]["value"] == "https://w"
    assert page.text_of["description"].strip() == "D"
    assert page.text_of["callbacks"] == "\nx://1\nx://2"
    assert [i["value"] for i in page.all("input") if "checked" in i] == ["read-write", "on"]
    assert page.with_id("notice")[1]["role"] == "status"


@cases("template", ["developer_new.html", "developer_settings.html"])
@cases("field", ["name", "description", "website", "callbacks"])
def test_an_error_is_announced_and_linked_to_its_field(template, field):
    page = render(template, faults={field: "It is wrong."})
    assert page.with_id("faults")[1]["role"] == "alert"
    assert page.text_of["faults"].split() == ["Nothing", "was", "saved", "It", "is", "wrong."]
    assert {"href": f"#{field}", "class": "alone"} in page.all("a")
    wrong = [a for _, a in page.elements if "aria-invalid" in a]
    assert [(a["name"], a["id"]) for a in wrong] == [(field, field)]
    assert f"{field}-fault" in wrong[0]["aria-describedby"].split()
    assert page.text_of[f"{field}-fault"].strip() == "It is wrong."
    assert "<title>Error: " in page.html


def test_an_error_of_the_whole_form_is_announced():
    page = render("developer_new.html", faults={"": "You have enough."})
    assert "You have enough." in page.text_of["faults"]
    assert not any("aria-invalid" in a for _, a in page.elements)


def actions_of(page):
    return {b["value"] for b in page.all("button") if b.get("name") == "action"}


def test_actions_depend_on_the_existing_credentials():
    assert actions_of(render("developer_keys.html")) == {
        "regenerate_all",
        "regenerate_key",
        "generate_bearer",
        "generate_token",
    }
    page = render("developer_keys.html", has_bearer=True, token=TOKEN)
    rest = {f"{verb}_{what}" for verb in ("regenerate", "revoke") for what in ("bearer", "token")}
    assert actions_of(page) == {"regenerate_all", "regenerate_key"} | rest
    assert len(page.all("details")) == 6


def test_revoking_an_active_credential_needs_confirmation():
    page = render("developer_keys.html", has_bearer=True, token=TOKEN)
    confirmed = re.findall(r'<details class="confirm"[^>]*>.*?</details>', page.html, re.DOTALL)
    for action in actions_of(page):
        [around] = [each for each in confirmed if f'value="{action}"' in each]
        assert "working at once" in " ".join(around.split())
        assert "danger" in around


@pytest.mark.parametrize("names", [[], ["bearer_token"], ["consumer_key", "consumer_secret"]])
def test_new_secrets_appear_in_their_own_section(names):
    shown = {name: SECRETS[name] for name in names}
    page = render("developer_keys.html", shown=shown, has_bearer=True, token=TOKEN)
    for name, secret in SECRETS.items():
        assert (secret in page.html) is (name in names)
        assert f"{name.upper()}={secret if name in names else ''}\n" in page.text_of["env"]
        if name in names:
            assert page.text_of[name.replace("_", "-")] == secret
    copied = {b["data-copy"] for b in page.all("button") if "data-copy" in b}
    assert copied == {"env", "curl", "python"} | {name.replace("_", "-") for name in names}
    assert all("hidden" in b for b in page.all("button") if "data-copy" in b)
    statuses = [a for _, a in page.elements if a.get("role") == "status"]
    assert len(statuses) == (1 if names else 0)


def test_a_token_shows_its_permission_and_when_the_app_has_another():
    text = " ".join(render("developer_keys.html", token=TOKEN).text_of["main"].split())
    assert "Created with Read only permissions" in text
    assert "The app now has" not in text
    assert "Last used never" in text.replace("Last usednever", "Last used never")
    page = render("developer_keys.html", token=TOKEN, access_level="read-write")
    text = " ".join(page.text_of["main"].split())
    assert "The app now has Read and write: regenerate the token to get these permissions." in text
    assert len(page.all("time")) == 3, "the app's two, and the token's"


@pytest.mark.parametrize(
    ("template", "current"),
    [("developer_settings.html", APP_HOME), ("developer_keys.html", f"{APP_HOME}/keys")],
)
def test_the_tab_of_the_page_is_marked(template, current):
    page = render(template)
    assert [a["href"] for a in page.all("a") if a.get("aria-current") == "page"] == [current]


@cases("text", [each for each in HOSTILE_NAMES if each.strip()])
def test_hostile_text_stays_inside_the_forms_of_apps(text):
    page = render("developer_settings.html", **hostile(text)["developer_settings.html"])
    assert page.with_id("name")[1]["value"] == text
    assert page.text_of["description"] == f"\n{text}"
    assert page.text_of["callbacks"] == f"\n{text}\n{text}"


# --- the manager's console -----------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "shown"), [(None, ""), (77, "77")])
def test_a_waiting_app_can_be_enabled_from_the_list(limit, shown):
    page = render("manage.html", waiting=[listed_app("Birdseye", per_minute=limit)])
    assert page.form("/manage/apps/10000001") == [
        ("per_minute", shown),
        ("decision", "enable"),
        ("csrf_token", "csrf"),
        ("from", "queue"),
        ("was_per_minute", shown),
        ("seen", "tag"),
    ]


def test_a_manager_sees_what_the_approval_covers():
    """The form sends a hash of these; see `manage_views.fingerprint`."""
    asked = {"website": "https://birdseye.example", "description": "Counts birds."}
    row = listed_app("Birdseye", access_level="read-write", **asked)
    queue = render("manage.html", waiting=[row])
    page = render("manage_app.html", app=MANAGE_APP["app"] | asked | {"access_level": "read-write"})
    for shown in (queue, page):
        assert any(link["href"] == asked["website"] for link in shown.all("a"))
        for text in ("Counts birds.", "Read and write"):
            assert text in shown.text_of["main"]


def test_every_page_tells_managers_how_many_apps_wait():
    def told(count):
        page = render("developer_apps.html", viewer=MIRA, waiting_apps=count)
        return " ".join(re.sub("<[^>]*>", "", page.html.partition('"/manage"')[2])[:80].split())

    assert told(1).startswith(">Manager's console 1: 1 app waits")
    assert told(1200).startswith(">Manager's console 1,200: 1,200 apps wait")
    assert "wait" not in told(0)


def test_forms_send_back_what_their_page_showed():
    """Without them, a manager could overwrite a change that they did not see."""
    knew = {"was_per_minute": "7", "was_handles_contracted": "500"}
    page = render("manage_app.html", numbers=NO_NUMBERS | knew)
    hidden = {i["name"]: i["value"] for i in page.all("input") if i.get("type") == "hidden"}
    assert {name: hidden[name] for name in (*knew, "seen")} == knew | {"seen": "tag"}


@pytest.mark.parametrize(
    ("flags", "decisions"),
    [
        ({}, ["enable", "suspend"]),
        ({"enabled": True, "state": "enabled"}, ["disable", "suspend"]),
        ({"enabled": True, "suspended": True, "state": "suspended"}, ["resume"]),
        ({"suspended": True, "state": "suspended"}, ["resume"]),
    ],
)
def test_decisions_depend_on_the_state_of_the_app(flags, decisions):
    page = render("manage_app.html", app=MANAGE_APP["app"] | flags)
    offered = [b["value"] for b in page.all("button") if b.get("name") == "decision"]
    assert offered == [*decisions, "limits"]
    for button in page.all("button"):
        if button.get("value") in {"disable", "suspend"}:
            assert "danger" in button["class"].split()
    takes_away = {"disable", "suspend"} & set(decisions)
    assert len(page.all("details")) == len(takes_away), "revoking needs a confirmation"


def test_an_invalid_limit_is_reported_at_its_field_and_kept():
    faults = {"handles_contracted": "Write a whole number."}
    numbers = NO_NUMBERS | {"handles_contracted": "12k"}
    page = render("manage_app.html", faults=faults, numbers=numbers)
    field = page.with_id("handles_contracted")[1]
    assert (field["value"], field["aria-invalid"]) == ("12k", "true")
    assert page.text_of["handles_contracted-fault"].strip() == "Write a whole number."
    assert "aria-invalid" not in page.with_id("per_minute")[1]
    assert "<title>Error: A page" in page.html


def test_a_change_in_the_meantime_is_reported():
    page = render("manage_app.html", faults={"": "It changed."})
    assert page.with_id("faults")[1]["role"] == "alert"
    assert "It changed." in page.text_of["faults"]


def test_the_queue_reports_an_invalid_limit_beside_its_field():
    faults = {"limit-7": "Write a whole number."}
    row = listed_app("Birdseye") | {"id": 7}
    page = render("manage.html", waiting=[row], faults=faults, typed={7: "many"})
    field = page.with_id("limit-7")[1]
    assert (field["value"], field["aria-invalid"]) == ("many", "true")
    assert field["aria-describedby"].split() == ["limit-7-fault", "default-limit"]


def test_a_button_that_cannot_work_says_why():
    """A disabled control names the element that has the reason. Scripts give others a title."""
    found = []
    for name, context in MINIMAL.items():
        page = render(name, **context)
        if name != "style_guide.html":  # which shows every state
            disabled = [a for _, a in page.elements if "disabled" in a and "data-zoom" not in a]
            found += [(name, a) for a in disabled]
    assert [(name, a["aria-describedby"]) for name, a in found] == [
        ("developer_console.html", "no-token")
    ]


def test_no_link_before_the_first_month():
    assert 'rel="prev"' in render("manage_usage.html").html
    assert 'rel="prev"' not in render("manage_usage.html", before=None).html


@cases(
    ("handles", "contracted", "shown", "bar"),
    [
        (12, None, "12", None),
        (312, 500, "312 of 500", "62.4"),
        (500, 500, "500 of 500", "100"),
        (1531, 500, "1,531 of 500 1,031 over", "100"),
        (0, 500, "0 of 500", "0.0"),
    ],
)
def test_handles_against_the_contract(handles, contracted, shown, bar):
    app = app_usage("Birdseye", contracted, handles=handles)
    page = render("manage_usage.html", apps=[app])
    assert shown in " ".join(page.text_of["main"].split())
    assert ("over" in page.text_of["main"].replace("Over contract", "")) is (handles == 1531)
    bars = [a["width"] for a in page.all("rect")]
    assert bars == ([] if bar is None else ["100", bar])


def test_the_share_of_refused_requests():
    apps = [
        app_usage("a", requests=1000, refused=25),
        app_usage("b", requests=100_000, refused=1),
        app_usage("c", requests=10),
        app_usage("d"),
    ]
    text = render("manage_usage.html", apps=apps).text_of["main"].replace("\xa0", " ")
    assert [s for s in ("2.5%", "under 0.1%", "0.0%", "none") if s not in text] == []


def test_entries_of_the_audit_log_are_sentences():
    log = [
        logged(),
        logged(action="limit", before=None, after="6000"),
        logged(action="handles", before="500", after=None),
        logged("ana", action="role", app_id=None, before="member", after="manager"),
        logged(action="suspend", actor="command line", actor_id=None),
        logged(
            "ingest", action="revoke_key", app_id=None, before="a0b1c2d3e4f5", actor="command line"
        )
        | {"actor_id": None},
        logged("hooks.example", action="rotate_webhook", app_id=None, before="wh_1"),
        logged("Tides", action="remove") | {"has_app": False},
        logged("erased account", action="erase", actor="platform key a0b1c2d3e4f5", app_id=None)
        | {"actor_id": None},
        logged("erased account", action="role", app_id=None, before="member", after="manager"),
        logged("erased app", actor="erased account") | {"actor_id": None, "has_app": False},
    ]
    text = " ".join(render("manage_audit.html", entries=log).text_of["main"].split())
    for said in (
        "Birdseye: @mira enabled the app.",
        "@mira changed its limit per minute from the default to 6,000.",
        "@mira changed its contracted handles a month from 500 to none.",
        "@mira made @ana a manager (previously a member).",
        "The command line suspended the app.",
        "The command line revoked the platform key ingest (a0b1c2d3e4f5).",
        "@mira rotated the secret of the webhook to hooks.example (wh_1).",
        "Tides (10000001): @mira removed the app.",
        "The platform key a0b1c2d3e4f5 erased an account.",
        "@mira made an erased account a manager (previously a member).",
        "erased app (10000001): The erased account enabled the app.",
    ):
        assert said in text


def test_apps_that_are_gone_have_no_link():
    gone = app_usage("Tides", requests=10) | {"exists": False}
    erased = app_usage(None, requests=10) | {"exists": False, "owner": None, "app_id": 77}
    page = render("manage_usage.html", apps=[app_usage("Birdseye"), gone, erased])
    text = " ".join(page.text_of["main"].split())
    assert "Tides (removed)" in text
    assert "erased app (removed) 77 · erased account" in text
    links = [a["href"] for a in page.all("a") if "/manage/apps/" in a["href"]]
    assert len(links) == 1
    log = [logged(), logged() | {"has_app": False}]
    page = render("manage_audit.html", entries=log)
    assert len([a for a in page.all("a") if "/manage/apps/" in a["href"]]) == 1


def test_empty_pages_of_the_console_explain_what_to_do():
    for template, words in (
        ("manage.html", "Developers create apps in the developer portal"),
        ("manage_app.html", "are listed here"),
        ("manage_usage.html", "they are counted here"),
        ("manage_audit.html", "Enabling an app"),
    ):
        assert words in " ".join(render(template).text_of["main"].split())
    assert "No app matches" in render("manage.html", q="x").text_of["main"]
