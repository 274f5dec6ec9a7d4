"""Decorators of a host's own, in another module than the handlers."""

import functools


def counted(function):
    """A plain decorator: same colour as what it wraps only for plain functions."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        wrapper.calls += 1
        return function(*args, **kwargs)

    wrapper.calls = 0
    return wrapper


def tagged(function):
    """Only leaves a mark on the function itself, as aiogram's flags do."""
    function.tag = "tagged"
    return function
