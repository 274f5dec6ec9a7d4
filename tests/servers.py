"""Servers that some tests need: where they are, and what happens where they are not.

On a developer's machine a missing server skips the test. In CI the same test fails, since there a skip would
be read as a pass.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

import pytest

DEFAULT_PORTS = {"postgresql": 5432, "mariadb": 3306, "redis": 6379, "rabbitmq": 5672}

# Long enough for a busy machine, short enough that a filtered port does not stall a run.
CONNECT_SECONDS = 2.0


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


def require_server(name: str, environ: Mapping[str, str] = os.environ) -> Address:
    """Return the address of a server that accepts connections; else skip the test, or fail it in CI."""
    variable = variable_for(name)
    address = address_of(name, environ)
    try:
        socket.create_connection(address, timeout=CONNECT_SECONDS).close()
    except OSError as error:
        reason = f"no {name} at {address.host}:{address.port} ({error}); set {variable}=host:port to use another"
        if in_ci(environ):
            pytest.fail(f"{reason}. CI is set, where this test must run.")
        pytest.skip(reason)
    return address


def address_of(name: str, environ: Mapping[str, str]) -> Address:
    """Return the address named in the environment, else the usual port on this machine."""
    if name not in DEFAULT_PORTS:
        raise ValueError(f"unknown server {name!r}; known: {', '.join(DEFAULT_PORTS)}")
    variable = variable_for(name)
    text = environ.get(variable, "")
    if not text:
        return Address("127.0.0.1", DEFAULT_PORTS[name])
    host, colon, port = text.rpartition(":")
    # A typing error must not pass for an absent server, which would skip the test.
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{variable} must be host:port, got {text!r}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def variable_for(name: str) -> str:
    """Return the environment variable that overrides a server's address."""
    return f"BOTGUARD_TEST_{name.upper()}"


def in_ci(environ: Mapping[str, str]) -> bool:
    """Tell whether CI is set to something that means yes."""
    return environ.get("CI", "").strip().lower() in {"true", "1", "yes"}
