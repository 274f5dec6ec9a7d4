"""What every test shares: the Hypothesis profile, and servers asked for by a marker."""

from __future__ import annotations

import pytest

from servers import require_server

try:
    import hypothesis
except ModuleNotFoundError:
    # Users run the shipped suites with Hypothesis; the rest of the tests also run without it.
    pass
else:
    # No deadline: the time of one example says more about the machine than about the code.
    hypothesis.settings.register_profile("botguard", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("botguard")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("server"):
        if not marker.args:
            pytest.fail(f"{item.nodeid}: the marker server needs the name of one, e.g. server('postgresql')")
        for name in marker.args:
            require_server(name)
