"""Numbers in range: said beside the type, checked where an object is made.

A field `period: ranges.Size = 50` is a whole number from 1 on; `check(self)` in
`__post_init__`, or `check_call` in a function, refuses all else in one line.
gin hands over whatever it was given, so the kind of number is checked too.
"""

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import gin


@dataclasses.dataclass(frozen=True)
class Range:
  """Numbers from `low` to `high`.

  Attributes:
    low: The smallest.
    high: The largest; None for no end.
    low_is_in: Whether `low` itself is one of them.
    high_is_in: Likewise.
    besides: Numbers that stand for something else, such as -1.
  """

  low: int | float
  high: int | float | None = None
  low_is_in: bool = True
  high_is_in: bool = True
  besides: tuple[int | float, ...] = ()

  def has(self, value: Any) -> bool:
    """Whether a number is one of them."""
    if value in self.besides:
      return True
    if value < self.low or (value == self.low and not self.low_is_in):
      return False
    if self.high is None:
      return True
    return value < self.high or (value == self.high and self.high_is_in)

  def __str__(self) -> str:
    text = f'{"at least" if self.low_is_in else "more than"} {self.low:g}'
    if self.high is not None:
      text += f' and {"at most" if self.high_is_in else "less than"} '
      text += str(self.high) if self.high > 1e6 else f'{self.high:g}'
    return text + ''.join(f', or {number:g}' for number in self.besides)


@dataclasses.dataclass(frozen=True)
class Called:
  """What a user calls a field: the macro that a recipe binds it by."""

  macro: str


Size = Annotated[int, Range(1)]
Count = Annotated[int, Range(0)]
# JAX takes 32 bits.
Seed = Annotated[int, Range(0, 2**32 - 1)]
# Devices along an axis; -1 for what is left.
Axis = Annotated[int, Range(1, besides=(-1,))]
Factor = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, low_is_in=False)]
# Of dropout, of a moving average.
Share = Annotated[float, Range(0, 1, high_is_in=False)]


def check(made: Any) -> None:
  """Checks the fields of a dataclass, in its `__post_init__`.

  Raises:
    ValueError: If one is no number or out of its range; names it.
  """
  owner: Any = type(made)
  for name, hint in _hints(owner).items():
    _check_of(owner, name, getattr(made, name), hint)


def check_call(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
  """Checks the arguments of a call, as its first statement.

  Args:
    function: What is called.
    given: Its `locals()`.

  Raises:
    ValueError: As of `check`.
  """
  for name, hint in _hints(function).items():
    if name in given:
      _check_of(function, name, given[name], hint)


def _check_of(owner: Any, name: str, value: Any, hint: Any) -> None:
  full = f'{owner.__name__}.{name}'
  try:
    _check(full, value, hint)
  except ValueError as error:
    macro = _macro(owner, name)
    if macro is None:
      raise
    raise ValueError(str(error).replace(full, macro, 1)) from None


def _macro(owner: Any, name: str) -> str | None:
  """The macro that gin binds an argument to."""
  config = gin.config
  for (_, selector), bound in config._CONFIG.items():
    found, value = config._REGISTRY.get_match(selector), bound.get(name)
    if (
      found is not None
      and found.wrapped.__name__ == owner.__name__
      and found.wrapped.__module__ == owner.__module__
      and isinstance(value, config.ConfigurableReference)
      and value.configurable.wrapped is config.macro
    ):
      return '/'.join(value.scopes)
  return None


@functools.cache
def _hints(owner: Any) -> dict[str, Any]:
  hints: dict[str, Any] = {}
  for base in reversed(getattr(owner, '__mro__', (owner,))):
    hints |= {
      name: hint
      for name, hint in getattr(base, '__annotations__', {}).items()
      if _ranges(hint)
    }
  return hints


def _ranges(hint: Any) -> bool:
  """Whether there is a range anywhere in a type."""
  metadata = getattr(hint, '__metadata__', ())
  if any(isinstance(x, Range) for x in metadata):
    return True
  return any(map(_ranges, typing.get_args(hint)))


def _check(name: str, value: Any, hint: Any) -> None:
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    metadata = hint.__metadata__
    name = next((x.macro for x in metadata if isinstance(x, Called)), name)
    if typing.get_origin(args[0]) is not None:  # of something that holds them
      return _check(name, value, args[0])
    found = next((x for x in metadata if isinstance(x, Range)), None)
    if found is not None:
      _check_number(name, value, found, whole=args[0] is int)
  elif origin in (typing.Union, types.UnionType):
    if value is not None or types.NoneType not in args:
      for part in args:
        if _ranges(part):
          _check(name, value, part)
  elif isinstance(value, Mapping):
    for key, part in value.items():
      _check(f'{name}[{key!r}]', part, args[-1])
  elif isinstance(value, Sequence) and not isinstance(value, str):
    for i, part in enumerate(value):
      _check(f'{name}[{i}]', part, args[0])
  return None


def _check_number(name: str, value: Any, found: Range, whole: bool) -> None:
  kind = numbers.Integral if whole else numbers.Real
  if isinstance(value, bool) or not isinstance(value, kind):
    what = 'a whole number' if whole else 'a number'
    raise ValueError(f'{name}={value!r}: need {what}, {found}')
  if not (math.isfinite(value) and found.has(value)):
    raise ValueError(f'{name}={value!r}: need {found}')
