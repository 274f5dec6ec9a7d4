"""Settings of the site that these tests run in: three databases, of which each test takes the one it is about."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

_FOLDER = Path(os.environ.get("BOTGUARD_DJANGO_FOLDER") or tempfile.mkdtemp())
_NAME = f"botguard_django_{os.getpid()}"


def _server(name: str, port: int) -> dict[str, Any]:
    host, _, said = os.environ.get(f"BOTGUARD_TEST_{name}", "").rpartition(":")
    return {"HOST": host or "127.0.0.1", "PORT": said or str(port)}


SECRET_KEY = "not secret"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
DEFAULT_AUTO_FIELD = os.environ.get("BOTGUARD_DJANGO_AUTO_FIELD", "django.db.models.BigAutoField")
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _FOLDER / "site.db",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=OFF",
        },
        "TEST": {"NAME": _FOLDER / "test.db"},
    },
    "postgresql": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "OPTIONS": {"options": "-c synchronous_commit=off"},
        "TEST": {"NAME": _NAME, "DEPENDENCIES": []},
        **_server("POSTGRESQL", 5432),
    },
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "test",
        "USER": "root",
        "TEST": {"NAME": _NAME, "CHARSET": "utf8mb4", "DEPENDENCIES": []},
        **_server("MARIADB", 3306),
    },
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "botguard.adapters.django",
    "adapters.django.inner.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "adapters.django.inner.site_urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
BOTGUARD: dict[str, Any] = {}
