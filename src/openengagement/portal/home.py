"""The home page: what this is, or the page that a person most likely wants."""

from starlette.responses import Response

from openengagement.apps.own_apps import OwnApps
from openengagement.language.current import gettext as _
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.registry.shares import Shares
from openengagement.stores.contract import TweetStore


class Home:
    """Handler of `/`."""

    def __init__(
        self, renderer: PageRenderer, *, tweets: TweetStore, apps: OwnApps, shares: Shares
    ) -> None:
        self._renderer = renderer
        self._tweets = tweets
        self._apps = apps
        self._shares = shares

    def show(self, request: PageRequest) -> Response:
        """`GET /`.

        Managers go to their queue, authors to their overview, and developers without Tweets to
        their apps. Those with neither go to figures that somebody shares with them.
        """
        if request.session is None:
            return self._renderer.render(request, "welcome", context={"title": _("Welcome")})
        if request.session.is_manager:
            return redirect("/manage")
        account_id = request.account_id
        has_tweets = bool(self._tweets.list_tweets(account_id, limit=1))
        if has_tweets:
            return redirect("/overview")
        if self._apps.list(account_id):
            return redirect("/portal")
        if owners := self._shares.list_owners(account_id, limit=1):
            return redirect(f"/shared/{owners[0].account_id}/overview")
        return redirect("/overview")
