"""A person who signs in through an OpenID Connect provider."""

from support.person import Page, Person

HOME = "/settings/apps"


class Browser(Person):
    """A browser that can use the provider."""

    def go_to_provider(self, return_to: str = HOME) -> str:
        """Press the provider's button on the sign-in page. Return the provider's URL."""
        page = self.open(f"/sign-in?return_to={return_to}")
        page = self.submit(page, page.form_with(action="/sign-in/oidc"))
        assert page.status == 200, page
        link = page.links["continue-link"]
        assert page.response.headers["refresh"] == f"0; url={link}"
        return link

    @property
    def is_signed_in(self) -> bool:
        page = self.open(HOME)
        return (page.status, page.url) == (200, f"{self.origin}{HOME}")

    @property
    def signed_in_as(self) -> str:
        page = self.open(HOME)
        return page.html.partition("Apps and sessions of ")[2].partition("@")[2].partition("<")[0]


def alert(page: Page) -> str:
    """Return the error on the sign-in page."""
    return page.text("sign-in-error")
