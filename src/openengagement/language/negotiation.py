"""Choose the language of a request: the person's choice, the browser's, or the platform's."""

from collections.abc import Iterator, Mapping, Sequence

from openengagement.language.languages import KNOWN, Language, load_language

_HEADER_LENGTH_MAX = 500


class Languages:
    """The languages that a platform offers, by code, the default one first."""

    def __init__(self, offered: Mapping[str, Language]) -> None:
        self.offered = offered
        self.default = next(iter(offered.values()))

    def choose(self, chosen: str, accepted: str) -> Language:
        """Return the chosen language, or the best one of an `Accept-Language` header."""
        codes = (chosen, *parse_accepted(accepted))
        return next((self.offered[code] for code in codes if code in self.offered), self.default)


def load_languages(
    codes: Sequence[str] = tuple(KNOWN),
    nouns: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> Languages:
    """Load languages. `nouns` are those of the platform, by language."""
    return Languages({code: load_language(code, (nouns or {}).get(code)) for code in codes})


def parse_accepted(header: str) -> list[str]:
    """Return the languages of an `Accept-Language` header (RFC 9110, 12.5.4), the best first.

    A region is left out: `de-AT` is `de`.
    """
    ranges = sorted(_read_ranges(header[:_HEADER_LENGTH_MAX]), key=lambda each: -each[1])
    return [code for code, quality in ranges if quality > 0]


def _read_ranges(header: str) -> Iterator[tuple[str, float]]:
    for part in header.split(","):
        tag, _, parameter = part.partition(";")
        name, _, text = parameter.strip().partition("=")
        quality = 1.0
        if name.strip() == "q":
            text = text.strip()
            quality = float(text) if text.replace(".", "", 1).isdecimal() and text.isascii() else 0
        yield tag.strip().lower().partition("-")[0], quality
