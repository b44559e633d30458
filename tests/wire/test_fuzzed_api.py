"""schemathesis makes requests from the OpenAPI document, and compares the answers with it.

The requests are valid, or break one rule of the document. No answer may be a fault of the server,
and each one must have a status, headers and a body that the document describes.
"""

import hypothesis
import pytest
import requests
import schemathesis
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth1
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from openengagement.api.openapi.operations import PAGES
from support.api_document import read_document
from support.calls import Bearer
from support.server import Server
from support.waiting import PATIENCE_S

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(read_document())
# They end the credentials of the tests, or need a token that is used once.
UNSIGNED = ("/oauth/access_token", "/1.1/oauth/invalidate_token", "/oauth2/invalidate_token")
EXAMPLES_MAX = 25


@pytest.fixture(scope="module")
def server(world):
    settings = {"rate_limit_per_minute": "1000000", "request_tokens_per_minute": "1000000"}
    with Server(world, settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def credentials(server):
    """The signer of a call, by the name of its first security scheme."""
    app = server.world.main
    user = (app.access_token, app.access_token_secret)
    return {
        "oauth1": OAuth1(app.consumer_key, app.consumer_secret, *user),
        "app": OAuth1(app.consumer_key, app.consumer_secret),
        "bearer": OAuth1(app.consumer_key, app.consumer_secret, *user),
        "basic": HTTPBasicAuth(app.consumer_key, app.consumer_secret),
        "platform_key": Bearer(server.world.platform_key),
    }


def signer(case, credentials):
    if case.operation.path.startswith(UNSIGNED):
        return None
    if case.operation.path == "/oauth/request_token":
        return credentials["app"]
    security = case.operation.definition.raw["security"]
    return credentials[next(iter(security[0]))] if security else None


# It makes no Parquet, Arrow or NDJSON: the same rows are sent as JSON.
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload media types")
@pytest.mark.embedded
@SCHEMA.exclude(path=list(PAGES)).parametrize()
@hypothesis.settings(
    max_examples=EXAMPLES_MAX, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_answers_conform(case, server, credentials):
    with requests.Session() as session:
        session.trust_env = False
        auth = signer(case, credentials)
        answer = case.call(base_url=server.url, session=session, auth=auth, timeout=PATIENCE_S)
    case.validate_response(answer, checks=CHECKS)
