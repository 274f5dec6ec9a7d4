"""Settings of the shop. SHOP_DB is the path of its SQLite file."""

from __future__ import annotations

import os

SECRET_KEY = "for this example only"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
USE_TZ = True
STATIC_URL = "static/"
ROOT_URLCONF = "examples.shop_django.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DB", "shop.db"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
        "ATOMIC_REQUESTS": True,
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "botguard.adapters.django",
    "examples.shop_django.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "botguard.integrations.django.BotguardMiddleware",
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

BOTGUARD = {
    "GUARD": "examples.shop_django.shop.bots.guard",
    "IDENTIFY": "examples.shop_django.shop.bots.identify",
}
# It warns that SQLite and ATOMIC_REQUESTS share one write lock. The views that run an external command are marked.
SILENCED_SYSTEM_CHECKS = ["botguard.W005"]
