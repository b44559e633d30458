"""Read and compare OAuth 1.0a signatures (RFC 5849, 3.5.1). Pure functions, no I/O.

`openengagement_client.signature` computes them, for clients and for this server. Parameters are
pairs of decoded text. They include repeated names, as the base string does.
"""

import hmac
import re
from typing import Final

from openengagement.http.forms import MalformedParameters, Parameters, decode

# One element of the list (RFC 7235, 2.1): name="value", name=value or nothing, up to a comma or
# the end; otherwise the invalid rest.
_HEADER_PART: Final = re.compile(
    r"""
    \s*+ (?: ([^\s=,]++) \s*+=\s*+ (?: "([^"\\]*+ (?:\\.[^"\\]*+)*+)" | ([^\s,"'=]++=*+) ) \s*+ )?
    (?:,|\Z) | (.+)""",
    re.DOTALL | re.VERBOSE,
)
_REALM: Final = "realm"
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)


def parse_header(text: str) -> Parameters:
    """Parse what follows `OAuth` in an Authorization header (RFC 5849, 3.5.1).

    The list is read as RFC 7235 has it: values may hold quoted pairs and need no quotes, and
    elements may be empty. `realm` is not a parameter of OAuth: it is dropped and never decoded.

    Raises:
        MalformedParameters: the text is not a list of `name="value"`.
    """
    found = _HEADER_PART.findall(text)
    # The invalid rest reaches to the end, so only an empty element can follow it.
    if found[-1][3] or (len(found) > 1 and found[-2][3]):
        raise MalformedParameters('the header is not a list of name="value"')
    if "\\" in text:
        found = [(name, _QUOTED_PAIR.sub(r"\1", value), *rest) for name, value, *rest in found]
    return [
        (decode(name), decode(quoted or token))
        for name, quoted, token, _ in found
        if name and (len(name) != len(_REALM) or name.lower() != _REALM)
    ]


def signatures_match(expected: str, given: str) -> bool:
    """Compare two signatures in constant time.

    The base64 texts must be equal: another text for the same bytes does not match.
    """
    return hmac.compare_digest(expected.encode(), given.encode())
