"""``--app module:guard``: from the words on a command line to the host's own guard."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from botguard.errors import ConfigurationError

if TYPE_CHECKING:
    from botguard.guard import Guard

__all__ = ["add_app_option", "load_guard"]


def add_app_option(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The option ``--app`` of a sub-command; give its value to :func:`load_guard`."""
    parser.add_argument(
        "--app",
        metavar="MODULE:GUARD",
        required=required,
        help="your guard: shop:guard is the name guard in shop.py (looked for in this folder, too)",
    )


def load_guard(spec: str) -> Guard:
    """Import a host's module and take its guard.

    What the module prints meanwhile goes to stderr: stdout belongs to the command.

    Args:
        spec: ``module:guard``, as in ``shop:guard`` or ``erp.bots:bots.guard``.

    Raises:
        ConfigurationError: saying what could not be found, where, and what to write instead.
    """
    module, _, path = spec.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise ConfigurationError(
            "BG191",
            f"{spec!r} names no guard",
            where="--app",
            why="it takes a module, a colon and a name in that module",
            fix=f"--app {_proposed(module, path)}",
        )
    found: Any = _imported(module, spec)
    for name in path.split("."):
        found = getattr(found, name, None)
    from botguard.guard import Guard

    if not isinstance(found, Guard):
        raise _no_guard(module, path, spec, found, Guard)
    return found


def _imported(module: str, spec: str) -> ModuleType:
    # As for `python -m`: the command `botguard` itself does not look into the folder it is called in.
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(module)  # noqa: TID251 - the host's module, named by its developer
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(module, spec, error) from error
        raise ConfigurationError(
            "BG192",
            f"there is no module {error.name!r}",
            where=f"--app {spec}",
            why=f"Python looked in {folder} and in what is installed",
            fix=f"call botguard in the folder that holds {module.replace('.', '/')}.py",
        ) from error
    except (Exception, SystemExit) as error:
        raise _broken(module, spec, error) from error


def _broken(module: str, spec: str, error: BaseException) -> ConfigurationError:
    frames = traceback.extract_tb(error.__traceback__)
    frame = ([one for one in frames if one.filename.startswith(str(Path.cwd()))] or frames)[
        -1
    ]  # theirs, not a library's
    return ConfigurationError(
        "BG193",
        f"importing {module} raised {type(error).__name__}: {error} ({frame.filename}:{frame.lineno})",
        where=f"--app {spec}",
        why="the guard is there only once its module is imported",
        fix=f"make `python -c 'import {module}'` work; what is only for a script goes below if __name__ == '__main__'",
    )


def _no_guard(module: str, path: str, spec: str, found: Any, guard: type) -> ConfigurationError:
    names = [name for name, value in vars(sys.modules[module]).items() if isinstance(value, guard)]
    return ConfigurationError(
        "BG194",
        f"{path} is {f'a {type(found).__name__}' if found is not None else 'not there'}",
        where=f"--app {spec}",
        why="it must be a Guard in that module",
        fix=f"--app {module}:{names[0]}" if names else f"write {path} = Guard(…) in {module}, outside of any function",
    )


def _proposed(module: str, path: str) -> str:
    name = module.removesuffix(".py").replace("/", ".").strip(".") or "shop"
    return f"{name}:{path or 'guard'}" if name.replace(".", "_").isidentifier() else "shop:guard"
