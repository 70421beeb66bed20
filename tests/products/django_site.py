"""A Django site with django-oauth-toolkit, as its documentation has it: `python django_site.py '{"port": …}'`.

Options: ``port``; ``redirect_uri`` of the clients; ``secret`` of the confidential one; ``key``, a private key in PEM;
``lifetime`` of access tokens, in seconds. Its database lies in the current folder.
"""

from __future__ import annotations

import json
import secrets
import sys
from typing import Any

urlpatterns: list[Any] = []  # Django imports this module for them
USER, PASSWORD = "ada", "lovelace-1815"
LOGIN_PAGE = """<form method="post">{% csrf_token %}{{ form }}
<input type="hidden" name="next" value="{{ next }}"><input type="submit" value="Log in"></form>"""


def new_token(_request: object) -> str:
    """Make a token that the tests find in logs."""
    return f"CANARY-{secrets.token_urlsafe(24)}"


def configure(options: dict[str, Any]) -> None:
    """Set Django up."""
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY=options["secret"],
        ROOT_URLCONF=__name__,
        DEBUG=True,  # an error says what it is about
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [
                ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN_PAGE}),
                "django.template.loaders.app_directories.Loader",
            ]},
        }],
        # One round instead of a million: of a password that guards nothing.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGIN_URL="/accounts/login/",
        USE_TZ=True,
        LOGGING={
            "version": 1,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["console"], "level": "INFO"},
        },
        OAUTH2_PROVIDER={
            "OIDC_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": options["key"],
            "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
            "SCOPES": {"openid": "who you are", "profile": "your name", "email": "your address"},
            "ACCESS_TOKEN_EXPIRE_SECONDS": options["lifetime"],
            "ACCESS_TOKEN_GENERATOR": f"{__name__}.new_token",
            "REFRESH_TOKEN_GENERATOR": f"{__name__}.new_token",
        },
    )  # fmt: skip
    django.setup()


def fill(options: dict[str, Any]) -> None:
    """Create the tables, a user, and three clients, unless they are there."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    if User.objects.exists():
        return
    User.objects.create_user(USER, password=PASSWORD)
    for client_id, kind, algorithm in (
        ("public", "public", "RS256"),
        ("confidential", "confidential", "RS256"),
        ("unsigned", "public", ""),  # what its form for new clients has selected
    ):
        Application.objects.create(
            client_id=client_id,
            client_secret=options["secret"] if kind == "confidential" else "",
            client_type=kind,
            authorization_grant_type="authorization-code",
            redirect_uris=options["redirect_uri"],
            algorithm=algorithm,
            name=client_id,
        )


def add_routes() -> None:
    """Fill Django's table of routes."""
    from django.contrib.auth.views import LoginView
    from django.urls import include, path

    urlpatterns.append(path("accounts/login/", LoginView.as_view()))
    urlpatterns.append(path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")))


def main() -> None:
    """Serve until the process ends."""
    options = json.loads(sys.argv[1])
    configure(options)
    fill(options)
    add_routes()

    from django.core.servers.basehttp import get_internal_wsgi_application, run

    run("127.0.0.1", options["port"], get_internal_wsgi_application(), threading=True)


if __name__ == "__main__":
    main()
