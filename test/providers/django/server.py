"""django-oauth-toolkit with OpenID Connect: `server.py SETTINGS`, where SETTINGS is a JSON file (see ../django.ts)."""

import json
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings

with open(sys.argv[1]) as file:
    given = json.load(file)

login_form = '<form method="post" action="{{ request.get_full_path }}">{% csrf_token %}{{ form }}</form>'

settings.configure(
    SECRET_KEY=given["secretKey"],
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": given["database"], "OPTIONS": {"timeout": 20}}},
    # By default each check of a secret takes half a second, and the tests' API has every token checked.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    LOGIN_URL="/login/",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": False,
            "OPTIONS": {
                "context_processors": ["django.template.context_processors.request"],
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"login.html": login_form}),
                    "django.template.loaders.app_directories.Loader",
                ],
            },
        }
    ],
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": given["key"],
        "OIDC_RSA_PRIVATE_KEYS_INACTIVE": given["inactiveKeys"],
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
        "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
        "SCOPES": {"openid": "Who you are", "notes": "Your notes"},
        "ACCESS_TOKEN_EXPIRE_SECONDS": 5,
        "ID_TOKEN_EXPIRE_SECONDS": 5,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import AccessToken, Application, RefreshToken  # noqa: E402


def revoke_grants(request):
    """What an administrator does in Django's admin: deletes all tokens."""
    RefreshToken.objects.all().delete()
    AccessToken.objects.all().delete()
    return HttpResponse(status=204)


urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("login/", LoginView.as_view(template_name="login.html")),
    path("test/revoke-grants/", revoke_grants),
]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


call_command("migrate", verbosity=0)
if not User.objects.exists():
    for person in ["alice", "bob"]:
        User.objects.create_user(person, password="password")
    Application.objects.create(
        client_id=given["client"]["id"],
        client_secret=given["client"]["secret"],
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=given["redirectUri"],
        post_logout_redirect_uris=given["postLogoutRedirectUri"],
        algorithm=Application.RS256_ALGORITHM,
        skip_authorization=True,
    )
make_server("127.0.0.1", given["port"], get_wsgi_application(), Server, Handler).serve_forever()
