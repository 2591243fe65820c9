"""Which tasks a mixture draws from, and at which rates.

A mixture is anything with a name and `tasks`, pairs of a task or mixture and
its rate.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from vidlm.data.feed import order

_TOLERANCE = 0.01


def pairs(name: str, tasks: Any) -> tuple[tuple[Any, Any], ...]:
  """The parts of a mixture with their rates, checked.

  Args:
    name: The mixture's.
    tasks: (task, rate) pairs, as gin hands them over.

  Raises:
    ValueError: If there is none, one isn't a pair, or a rate can't be.
  """
  if not isinstance(tasks, Sequence) or isinstance(tasks, str) or not tasks:
    raise ValueError(f'mixture {name}: need a list of (task, rate) pairs')
  for item in tasks:
    if not isinstance(item, Sequence) or len(item) != 2:
      raise ValueError(
        f'mixture {name}: {item!r:.200} is no pair of a task and its rate'
      )
    part, rate = item
    if not isinstance(getattr(part, 'name', None), str):
      raise ValueError(f'mixture {name}: {part!r:.200} is no task')
    is_number = isinstance(rate, numbers.Real) and not isinstance(rate, bool)
    if not is_number or not 0 < rate < math.inf:
      raise ValueError(
        f'mixture {name}: the rate of {part.name} is {rate!r}; need a number '
        'above 0 (leave out what is not to be drawn)'
      )
  return tuple((part, rate) for part, rate in tasks)


def rates(task: Any) -> dict[str, tuple[Any, float]]:
  """Tasks by name with their rates, as `seqio.Mixture.get_rate` has them.

  Raises:
    ValueError: If two parts of a mixture have one name, of which a registry
      would keep the last.
  """
  if not hasattr(task, 'tasks'):
    return {task.name: (task, 1.0)}
  _check_names(task)
  found: dict[str, tuple[Any, float]] = {}
  # What is in mixtures of the mixture comes first: sums of floats differ.
  for part, rate in sorted(
    task.tasks, key=lambda x: not hasattr(x[0], 'tasks')
  ):
    inner = getattr(part, 'tasks', [(part, 1.0)])
    whole = sum(float(share) for _, share in inner)
    for name, (inside, share) in rates(part).items():
      before = found.setdefault(name, (inside, 0.0))
      if before[0] != inside or name == task.name:
        raise _namesakes(task, name)
      found[name] = inside, before[1] + float(rate) * share / whole
  return found


def _check_names(mixture: Any) -> None:
  met: dict[str, tuple[Any, float]] = {}
  for part, rate in mixture.tasks:
    if part.name in met and met[part.name][0] == part:
      raise ValueError(
        f'mixture {mixture.name}: {part.name!r} is there twice, with the rates '
        f'{met[part.name][1]} and {rate}; give it once'
      )
    if part.name in met or part.name == mixture.name:
      raise _namesakes(mixture, part.name)
    met[part.name] = part, rate


def _namesakes(mixture: Any, name: str) -> ValueError:
  return ValueError(
    f'mixture {mixture.name}: two tasks are called {name!r}; give each a name '
    'of its own'
  )


def check_drawable(name: str, shares: Mapping[str, float]) -> None:
  """Refuses rates of which one would never be drawn.

  Args:
    name: The mixture's.
    shares: {task: rate}.

  Raises:
    ValueError: If one is too small; says which.
  """
  if len(shares) < 2:
    return
  try:
    order.block_counts([*shares.values()])
  except ValueError as error:
    task, least = min(shares.items(), key=lambda item: item[1])
    raise ValueError(
      f'mixture {name}: {task} would never be drawn, its rate is '
      f'{least / sum(shares.values()):.2g} of the sum; examples are drawn in '
      f'blocks of {order.BLOCK}, so give it at least 1/{order.BLOCK} of the '
      f'sum ({error})'
    ) from error


def misdrawn(shares: Mapping[str, float]) -> dict[str, tuple[float, float]]:
  """What is drawn otherwise than asked, by more than a hundredth of its rate.

  Args:
    shares: {task: rate}.

  Returns:
    {task: (part of all that was asked for, part of all that is drawn)}.
  """
  if len(shares) < 2:
    return {}
  drawn = order.block_counts([*shares.values()]) / order.BLOCK
  whole = sum(shares.values())
  found = {}
  for (task, rate), part in zip(shares.items(), drawn, strict=True):
    if abs(float(part) * whole / rate - 1) > _TOLERANCE:
      found[task] = rate / whole, float(part)
  return found
