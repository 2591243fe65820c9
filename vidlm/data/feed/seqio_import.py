"""seqio and TensorFlow: imported when something of theirs is asked for."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# What TensorFlow's C++ says of itself on standard error when it is loaded,
# some of it whatever TF_CPP_MIN_LOG_LEVEL is.
_CHATTER = re.compile(
  rb'WARNING: All log messages before absl::InitializeLog'
  rb'|[IWE]\d{4} \d\d:\d\d:[\d.]+ +\d+ \S+:\d+\]'
  rb'|\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IWE] \S+:\d+\]'
  rb'|To enable the following instructions: '
)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
  """Imports of seqio and TensorFlow go into this, as often as they like.

  TensorFlow's lines about itself stay off the screen; what else is said there
  meanwhile comes out at the end. It sees no GPU, whose memory is JAX's.

  Raises:
    ValueError: If one of them isn't installed.
  """
  try:
    if not sys.modules.get('tensorflow'):
      with _stderr_filtered():
        import tensorflow as tf

        tf.config.set_visible_devices([], 'GPU')
        tf.zeros([])  # it says the rest when it is first used
    yield
  except ImportError as error:
    raise ValueError(
      f"{error.name or error}: not installed, and seqio's tasks need it; "
      "install 'vidlm[seqio]' (on Python 3.13 that takes a C++ compiler, and "
      'for 3.14 there is no tensorflow-text)'
    ) from error


@contextlib.contextmanager
def _stderr_filtered() -> Iterator[None]:
  sys.stderr.flush()
  screen = os.dup(2)
  with tempfile.TemporaryFile() as said:
    os.dup2(said.fileno(), 2)
    try:
      yield
    finally:
      sys.stderr.flush()
      os.dup2(screen, 2)
      said.seek(0)
      lines = [line for line in said if not _CHATTER.match(line)]
      os.write(screen, b''.join(lines))
      os.close(screen)
