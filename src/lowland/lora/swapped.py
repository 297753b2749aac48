"""Modules that compute in another way for a while: a change of their class, which nothing else notices.

A module is swapped by a change of its class to a subclass of that class (`module.__class__ = ...`), and restored by a
change back. There is no wrapper, no hook and no replaced method, so names, saving, merging and copying work as before.
A copy or a pickle of a swapped module is one of the module as it was.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Self

from torch import nn


class Swapped(nn.Module):
    """Mix-in for a module that computes in another way; in the method resolution order it stands before its own class.

    The new class has the name of the module's own: it is shown, and found by its name, as before.
    """

    plain: ClassVar[type[nn.Module]]
    """The module's class before the swap."""
    added_attributes: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that the swap adds. Restoring removes them; copies and pickles leave them out."""

    @classmethod
    def swap(cls, module: nn.Module) -> Self:
        """Put this class before that of a module, in place, and return the module."""
        classes: Any = (cls, type(module))
        module.__class__ = _swapped_class(*classes)
        swapped: Self = module  # type: ignore[assignment]  # now its class is a subclass of cls
        return swapped

    def restore(self) -> None:
        """Restore the module's own class, and remove all that the swap added."""
        for name in self.added_attributes:
            self.__dict__.pop(name, None)
        self.__class__ = _own_class(type(self))

    def take_out(self, mixin: type[Swapped]) -> None:
        """Restore what one mix-in has changed; one that was put before it stays."""
        kind: Any = type(self)
        if "plain" in vars(kind) and kind.__bases__[0] is not mixin and issubclass(kind.plain, mixin):
            self.__class__ = _swapped_class(kind.__bases__[0], kind.plain.plain)
        else:
            self.restore()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle the module as it was before; lowland is not needed to open the pickle."""
        added = {name for cls in type(self).__mro__ for name in cls.__dict__.get("added_attributes", ())}
        state = {name: value for name, value in self.__dict__.items() if name not in added}
        plain = self.plain
        while issubclass(plain, Swapped):  # a module may be swapped twice: a fused layer under noise
            plain = plain.plain
        return object.__new__, (plain,), state


def _own_class(swapped: Any) -> Any:
    """Return the class without the mix-in. A class that fully_shard has put before the swapped one stays."""
    if "plain" in vars(swapped):
        return swapped.plain
    bases = tuple(base.plain if "plain" in vars(base) else base for base in swapped.__bases__)
    own = {name: value for name, value in vars(swapped).items() if name not in ("__dict__", "__weakref__")}
    return type(swapped.__name__, bases, own)


@functools.cache
def _swapped_class(mixin: Any, plain: Any) -> Any:
    """Return the subclass of both, made once for each pair, under the name of the module's own class."""
    names = {"__module__": plain.__module__, "__qualname__": plain.__qualname__}
    return type(plain.__name__, (mixin, plain), {"plain": plain, **names})
