"""Imports of other libraries that wait until what they bring is used.

Lightning reads torch's compiler and SciPy's signals in, and Chemprop scikit-learn, pandas,
descriptastorus and the splits of astartes, for types that it checks and functions that we never
call: a third of what a prediction takes to start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


@contextmanager
def put_off(*modules: str) -> Iterator[None]:
    """Let what is imported within the block import names of some modules without loading these.

    A class or function that is imported so is loaded when it is called or asked for an attribute,
    and a module kept from the block is itself from the end of the block on. As long as nobody has
    loaded the module, nothing is an instance of its classes.

    Parameters
    ----------
    *modules : str
        Their full names. One that is loaded already stays as it is.
    """
    waiting = [name for name in modules if name not in sys.modules]
    for name in waiting:
        sys.modules[name] = _Waiting(name)
    try:
        yield
    finally:
        # Who imports it from now on gets the module itself.
        for name in waiting:
            _forget(name)


def _forget(name: str) -> None:
    if isinstance(sys.modules.get(name), _Waiting):
        del sys.modules[name]


def _loaded(name: str) -> ModuleType | None:
    module = sys.modules.get(name)
    return None if isinstance(module, _Waiting) else module


class _Waiting(ModuleType):
    """Stands in for a module that is not loaded."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is not self:
            # The block is over: whoever kept the module itself gets what it holds.
            return getattr(import_module(self.__name__), name)
        # A decorator, called while classes are made.
        if self.__name__ == COMPILER and name == "disable":
            return _not_compiled
        return _Later(name, (), {"of": self.__name__})


class _Later(type):
    """A class or function of a module that is not loaded."""

    of: str

    def __call__(cls, *arguments: Any, **options: Any) -> Any:
        return cls._loaded()(*arguments, **options)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(cls._loaded(), name)

    def _loaded(cls) -> Any:
        _forget(cls.of)
        return getattr(import_module(cls.of), cls.__name__)

    def __instancecheck__(cls, instance: Any) -> bool:
        module = _loaded(cls.of)
        return module is not None and isinstance(instance, getattr(module, cls.__name__))


def _not_compiled(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return a function that the compiler passes over, once there is a compiler."""

    @wraps(function)
    def call(*own: Any, **keys: Any) -> Any:
        compiler = _loaded(COMPILER)
        if compiler is None:
            return function(*own, **keys)
        return compiler.disable(function, *arguments, **options)(*own, **keys)

    return call
