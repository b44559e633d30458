"""The home page: what this is, or the page that a person most likely wants."""

from starlette.responses import Response

from openengagement.apps.own_apps import OwnApps
from openengagement.language.current import gettext as _
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.stores.contract import TweetStore


class Home:
    """Handler of `/`."""

    def __init__(self, renderer: PageRenderer, *, tweets: TweetStore, apps: OwnApps) -> None:
        self._renderer = renderer
        self._tweets = tweets
        self._apps = apps

    def show(self, request: PageRequest) -> Response:
        """`GET /`.

        Managers go to their queue, authors to their overview, and developers without Tweets to
        their apps.
        """
        if request.session is None:
            return self._renderer.render(request, "welcome", context={"title": _("Welcome")})
        if request.session.is_manager:
            return redirect("/manage")
        account_id = request.account_id
        has_tweets = bool(self._tweets.list_tweets(account_id, limit=1))
        if not has_tweets and self._apps.list(account_id):
            return redirect("/portal")
        return redirect("/overview")
