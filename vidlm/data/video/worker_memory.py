"""How much memory a decoding process may take, and whether it ran out of it."""

import os

# What a process like this maps and never touches, where the system can't tell;
# and what of it is touched once decoders run.
_LIBRARIES, _LATER = 400 << 20, 32 << 20
# Bytes below a limit at which a large picture no longer finds room.
_CLOSE = 48 << 20


def set_limit(name: str, soft: int, hard: int | None = None) -> bool:
  """Sets a limit of this process, if the system has it and takes it.

  Args:
    name: As in the module `resource`.
    soft: The limit.
    hard: What it may be raised to; None for what that is now.

  Returns:
    Whether it is set.
  """
  try:
    import resource

    number = getattr(resource, name)
    _, most = resource.getrlimit(number)
    if most != resource.RLIM_INFINITY:
      soft = min(soft, most)
    most = most if hard is None else soft
    resource.setrlimit(number, (soft, most))
  # No module, no such limit, or one that is there and can't be set (macOS).
  except (ImportError, AttributeError, ValueError, OSError):
    return False
  return True


def mapped_only() -> int:
  """Returns how much of this process's address space takes no memory.

  Systems limit address space, of which libraries take far more than they use.
  """
  try:
    with open('/proc/self/statm', encoding='ascii') as file:
      mapped, resident = map(int, file.read().split()[:2])
  except (OSError, ValueError):
    return _LIBRARIES
  unused = (mapped - resident) * os.sysconf('SC_PAGE_SIZE')
  return max(0, unused - _LATER)


def ran_out() -> bool:
  """Returns whether this process has come so close to its limit of memory
  that what failed may have failed for want of it: decoders don't tell."""
  try:
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    with open('/proc/self/status', encoding='ascii') as file:
      (peak,) = [line for line in file if line.startswith('VmPeak:')]
  except (ImportError, AttributeError, ValueError, OSError):
    return False
  used = int(peak.split()[1]) << 10
  return limit != resource.RLIM_INFINITY and limit - used < _CLOSE
