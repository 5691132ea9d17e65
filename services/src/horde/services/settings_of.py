"""Finding the settings of a service by its package's name, for programs that look at all of them."""

from __future__ import annotations

import importlib

from horde.services.settings import ServiceSettings


def settings_of(package: str) -> type[ServiceSettings]:
    """The one class of settings that `PACKAGE.settings` defines. Raises ImportError where the package is not here."""
    module = importlib.import_module(f"{package}.settings")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ImportError(f"{module.__name__} defines {len(found)} classes of settings, and should define one")
    return found[0]
