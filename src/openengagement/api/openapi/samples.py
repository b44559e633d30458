"""Examples of each call in curl, Python, JavaScript and Ruby. Tests run all of them.

They read the server's URL and the credentials from the environment, under the names of the sample
code's `.env`. Signatures are made by the libraries that people use, and for curl by openssl.
"""

import json
import re
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from openengagement.api.authentication import Authentication
from openengagement.api.openapi.operations import AUTHOR_ID, TWEET_ID, Example

LANGUAGES: Final = {
    "curl": "curl",
    "Python": "python",
    "JavaScript": "javascript",
    "Ruby": "ruby",
}
_VARIABLE: Final = re.compile(r"\$([A-Z_]+)")
_BEARERS: Final = {
    Authentication.CALLER: "BEARER_TOKEN",
    Authentication.PLATFORM_KEY: "PLATFORM_KEY",
}
_ACCESS_TOKEN: Final = ("ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")
# The variables of the token that signs and of its secret; none if the app signs alone.
_SIGNERS: Final = {
    Authentication.CONSUMER: (),
    Authentication.REQUEST_TOKEN: ("REQUEST_TOKEN", "REQUEST_TOKEN_SECRET"),
    Authentication.ACCESS_TOKEN: _ACCESS_TOKEN,
}
_OWNERS_ONLY: Final = ("/28hr", "/historical")


def make_samples(
    method: str, path: str, *, authentication: Authentication, example: Example
) -> list[dict[str, str]]:
    """Write the example of a call in every language, as the extension `x-codeSamples`."""
    owners = path.endswith(_OWNERS_ONLY)
    signer = _ACCESS_TOKEN if owners else _SIGNERS.get(authentication)
    oauth = dict(each.split("=", 1) for each in example.oauth)
    call = {
        "method": method,
        "path": path.replace("{id}", AUTHOR_ID if "/accounts/" in path else TWEET_ID),
        "media_type": example.media_type,
        "body": example.body,
        "signer": signer,
        "bearer": "" if owners else _BEARERS.get(authentication, ""),
        "basic": authentication is Authentication.BASIC,
        "oauth": oauth,
        "shell_parameters": _shell_parameters(signer or (), oauth),
    }
    return [_write(language, call) for language in LANGUAGES]


def _shell_parameters(signer: tuple[str, ...], oauth: dict[str, str]) -> str:
    """List the OAuth parameters in the order of the base string."""
    parameters = {
        "oauth_consumer_key": "$CONSUMER_KEY",
        "oauth_nonce": "$(openssl rand -hex 16)",
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": "$(date +%s)",
        "oauth_version": "1.0",
        **oauth,
    }
    if signer:
        parameters["oauth_token"] = f"${signer[0]}"
    return "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))


def _write(language: str, call: dict[str, Any]) -> dict[str, str]:
    template = _ENVIRONMENT.get_template(f"{LANGUAGES[language]}.jinja")
    return {"lang": language, "source": template.render(call).strip()}


def _in_shell(text: str) -> str:
    return f'"{text}"' if "$" in text else f"'{text}'"


def _in_python(text: str) -> str:
    """Write a text as an expression: `$NAME` in it stands for a variable of the environment."""
    if match := _VARIABLE.fullmatch(text):
        return f'env["{match[1]}"]'
    if "$" in text:
        return 'f"' + _VARIABLE.sub(r"{env['\1']}", text) + '"'
    return _quoted(text)


def _in_javascript(text: str) -> str:
    if match := _VARIABLE.fullmatch(text):
        return f"env.{match[1]}"
    return "`" + _VARIABLE.sub(r"${env.\1}", text) + "`" if "$" in text else _quoted(text)


def _in_ruby(text: str) -> str:
    if match := _VARIABLE.fullmatch(text):
        return f'ENV["{match[1]}"]'
    return '"' + _VARIABLE.sub(r'#{ENV["\1"]}', text) + '"' if "$" in text else _quoted(text)


def _quoted(text: str) -> str:
    """Quote a text without single quotes, which all three languages write alike."""
    return f"'{text}'" if '"' in text else json.dumps(text)


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("openengagement.api.openapi"),
    autoescape=False,  # noqa: S701 - it writes programs from our own tables, not HTML
    undefined=StrictUndefined,
    keep_trailing_newline=False,
)
_ENVIRONMENT.filters.update(
    in_shell=_in_shell, in_python=_in_python, in_javascript=_in_javascript, in_ruby=_in_ruby
)
