"""The settings of the platform's own look and language (see `settings`)."""

from dataclasses import dataclass
from functools import partial

from openengagement.language.nouns import FORMS, read_nouns
from openengagement.look import Look, check_link, check_name, read_logo, write_theme
from openengagement.provider_settings import ProviderSettings
from openengagement.setting_kinds import text as _text


@dataclass(frozen=True, slots=True, kw_only=True)
class LookSettings(ProviderSettings):
    """The settings of the look and the language of the pages."""

    platform_name: str = _text("Open Engagement", "Name of the platform on the pages.", unit="text")
    logo: str = _text(
        "",
        "Picture of at most 100 KiB that takes the place of the product's logo: SVG, PNG, JPEG or "
        "WebP. The server reads it at its start and serves it itself.",
        unit="path",
    )
    accent_color: str = _text(
        "",
        "Colour of links and main buttons, such as #0b5f73. A colour with too little contrast is "
        "refused.",
        unit="#rrggbb",
    )
    accent_color_dark: str = _text(
        "", "The same for the dark theme, such as #6cc7dc.", unit="#rrggbb"
    )
    languages: str = _text(
        "en, de",
        "Languages of the pages, the default one first: en, de.",
        unit="languages, separated by commas",
    )
    nouns: str = _text(
        "",
        "File with what the platform calls its posts, likes, reposts, quotes and replies "
        "(operating/look-and-language.md).",
        unit="path",
    )
    terms_url: str = _text("", "Link to the terms, at the foot of every page.", unit="URL")
    privacy_url: str = _text("", "Link to the privacy policy.", unit="URL")
    support_url: str = _text("", "Link to the support.", unit="URL, or mailto:")

    def check_look(self) -> None:
        """Check these settings.

        Raises:
            SettingsError
        """
        _ = self.look, self.platform_nouns

    @property
    def look(self) -> Look:
        """The look of the pages."""
        self._parse("accent_color", partial(write_theme, dark=""))
        self._parse("accent_color_dark", partial(write_theme, ""))
        links = {
            "terms": self._parse("terms_url", check_link),
            "privacy": self._parse("privacy_url", check_link),
            "support": self._parse("support_url", partial(check_link, mail=True)),
        }
        return Look(
            self._parse("platform_name", check_name),
            self._parse("logo", read_logo),
            write_theme(self.accent_color, self.accent_color_dark),
            {name: url for name, url in links.items() if url},
        )

    @property
    def page_languages(self) -> tuple[str, ...]:
        """The codes of `languages`."""
        return self._parse("languages", parse_languages)

    @property
    def platform_nouns(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The nouns of the file `nouns`, by language."""
        return self._parse("nouns", partial(read_nouns, languages=self.page_languages))


def parse_languages(text: str) -> tuple[str, ...]:
    """Parse codes of languages, separated by commas.

    Raises:
        ValueError
    """
    codes = tuple(dict.fromkeys(code.strip() for code in text.split(",") if code.strip()))
    if not codes or not set(codes) <= FORMS.keys():
        raise ValueError(f"write one or several of {', '.join(FORMS)}, not {text[:80]!r}")
    return codes
