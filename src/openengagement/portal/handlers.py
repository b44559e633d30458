"""The handlers of the pages, gathered for the table of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openengagement.portal.apps import Apps
from openengagement.portal.charts import Charts
from openengagement.portal.consent import Consent
from openengagement.portal.developer import Developer
from openengagement.portal.explorer import Explorer
from openengagement.portal.keys import Keys
from openengagement.portal.manage import Console
from openengagement.portal.sign_in import SignIn

if TYPE_CHECKING:
    from openengagement.portal.oidc import OidcSignIn


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers, by what they are about."""

    consent: Consent
    sign_in: SignIn
    apps: Apps
    developer: Developer
    keys: Keys
    console: Console
    explorer: Explorer
    charts: Charts
    oidc: "OidcSignIn | None" = None  # None when no provider is set
