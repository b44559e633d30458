"""The table of routes: what it says about credentials holds on the wire."""

from openengagement.api.routes import Authentication, Calls, build_routes
from support.cases import cases


class Handlers:
    """Stands for the handlers, which are not called."""

    def __getattr__(self, name):
        return self


CALLS = Calls(**dict.fromkeys(Calls.__dataclass_fields__, Handlers()))
ROUTES = build_routes(CALLS, Handlers(), page_prefixes=()).routes


@cases("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_call_demands_the_credentials_that_its_route_names(server, route):
    answer = server.client.send(route.method, route.path.replace("{id}", "1"))
    if route.authentication is Authentication.NONE:
        assert answer.status == 200
    else:
        assert answer.status in {400, 401, 403}


def test_every_summary_is_short_and_says_something():
    assert all(10 < len(route.summary) < 60 for route in ROUTES)
