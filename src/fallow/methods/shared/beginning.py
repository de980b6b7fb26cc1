"""Methods that begin with a model somebody gives them."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from torch import nn

Kind = TypeVar("Kind", bound="Beginning")


class Beginning:
    """A method that changes a given model; without one, it reads one from its setting `start`."""

    given: ClassVar[Any] = None

    @classmethod
    def beginning_with(cls: type[Kind], model: nn.Module) -> type[Kind]:
        """The same method with a model of yours, which training will change.

        Train it with the model's own encoder.
        """
        return type(cls.__name__, (cls,), {"given": model, "__module__": cls.__module__})
