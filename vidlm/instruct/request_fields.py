"""The fields of a request that servers differ about, found out once."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from absl import logging

from vidlm.instruct import server_words

_Reply = TypeVar('_Reply')
# In the order in which they are given up.
_OPTIONAL = ('seed', 'stop', 'top_p', 'temperature')
_LIMIT, _OTHER_LIMIT = 'max_tokens', 'max_completion_tokens'


class Fields:
  """Which fields a server takes.

  Until a request was answered, they are sent one at a time, so that what the
  server refuses is found out by one of them.

  Attributes:
    left_out: Optional fields that the server refuses by name.
  """

  def __init__(self) -> None:
    self.left_out: tuple[str, ...] = ()
    self._other_limit = False
    self._known = threading.Event()
    self._turn = threading.Lock()

  def send(
    self, post: Callable[[dict[str, Any]], _Reply], options: dict[str, Any]
  ) -> _Reply:
    """Returns the reply to a request with the fields the server takes.

    Args:
      post: Sends a request with these fields.
      options: All fields.
    """
    if not self._known.is_set():
      with self._turn:
        if not self._known.is_set():
          return self._find_out(post, options)
    return self._send(post, options)

  def _find_out(
    self, post: Callable[[dict[str, Any]], _Reply], options: dict[str, Any]
  ) -> _Reply:
    try:
      reply = self._send(post, options)
    except Exception as error:
      # A server that does not answer at all holds nobody else up.
      if getattr(error, 'status_code', None) is None:
        self._known.set()
      raise
    self._known.set()
    return reply

  def _send(
    self, post: Callable[[dict[str, Any]], _Reply], options: dict[str, Any]
  ) -> _Reply:
    while True:
      sent = self._taken(options)
      try:
        return post(sent)
      except Exception as error:
        if not self._adapts(error, sent):
          raise

  def _taken(self, options: dict[str, Any]) -> dict[str, Any]:
    other = self._other_limit
    return {
      _OTHER_LIMIT if other and name == _LIMIT else name: value
      for name, value in options.items()
      if name not in self.left_out
    }

  def _adapts(self, error: Exception, sent: dict[str, Any]) -> bool:
    """Whether a field was refused that the next request does without."""
    names = [name for name in (_LIMIT, *_OPTIONAL) if name in sent]
    name = server_words.refused_field(error, names)
    if name is None:
      return False
    if name == _LIMIT:
      if not self._other_limit:
        logging.info('instruct: the server takes %s', _OTHER_LIMIT)
      self._other_limit = True
    elif name not in self.left_out:
      self.left_out = (*self.left_out, name)
      logging.warning(
        'instruct: %s is left out from now on: the server refuses it (%s)',
        name,
        server_words.of(error),
      )
    return True
