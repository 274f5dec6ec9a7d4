"""Django: an app with models, migrations, admin, checks and commands, and ``DjangoStorage()``.

Put ``"botguard.adapters.django"`` into ``INSTALLED_APPS`` and run ``migrate``.
"""

from botguard.adapters.django.extra import require_django

require_django()

from botguard.adapters.django import checks  # noqa: E402, F401 - whoever imports the storage gets the checks, app or not
from botguard.adapters.django.storage import DjangoStorage  # noqa: E402 - says first which extra is missing

__all__ = ["DjangoStorage"]
