"""Completions from any OpenAI-compatible endpoint, or from anything alike."""

import dataclasses
import functools
import json
import os
import urllib.parse
from typing import Any, Protocol, runtime_checkable

import tenacity
from absl import logging

from vidlm.instruct import request_fields, server_words

# Where a base model would go on to invent a fourth caption. At most four: the
# API allows no more.
STOP = ('\n(4)', '\nCaptions:', '(3) Captions', '\nGenerated QA')


@dataclasses.dataclass(frozen=True)
class Completion:
  """What an endpoint answered.

  Attributes:
    text: The text, '' if there was none.
    finish_reason: 'stop', 'length', 'content_filter' or what else it says.
    model: The model's name as the endpoint reports it.
    tokens: Tokens charged for prompt and text, where reported.
    left_out: Fields that were not sent because the server refuses them.
  """

  text: str
  finish_reason: str | None
  model: str
  tokens: int | None = None
  left_out: tuple[str, ...] = ()


@runtime_checkable
class Completer(Protocol):
  """Anything that completes prompts; `complete` is called from threads.

  An `endpoint` attribute, if there is one, tells the records where the model
  runs; otherwise they hold the class's name.
  """

  @property
  def model(self) -> str:
    """Name of the model."""

  def complete(self, prompt: str) -> Completion:
    """Returns the completion, or raises `EndpointError`."""


class EndpointError(RuntimeError):
  """An endpoint gave no completion.

  Attributes:
    fatal: Whether no other prompt will fare better (a bad key, a wrong URL).
    fault: Why the endpoint refuses this prompt; '' if the same prompt may pass
      at another time.
  """

  def __init__(self, message: str, fatal: bool = False, fault: str = ''):
    super().__init__(message)
    self.fatal = fatal
    self.fault = fault


def endpoint_name(completer: Completer) -> str:
  """Returns where a completer runs: its URL, or its class."""
  name = getattr(completer, 'endpoint', None)
  return str(name or f'{type(completer).__module__}.{type(completer).__name__}')


@dataclasses.dataclass(frozen=True)
class OpenAICompleter:
  """Talks to an OpenAI-compatible server, retrying what may pass.

  Timeouts, dropped connections, statuses 408, 409, 429 and 5xx, broken or
  truncated bodies and answers of another schema are tried again, with
  exponentially growing random pauses or as `Retry-After` says. What a server
  wants to be called `max_completion_tokens`, and which optional fields it does
  not take, is found out by the first request.

  Attributes:
    base_url: For example 'http://localhost:8000/v1'.
    model: The name the server knows it by.
    mode: 'chat', or 'completion' for raw text, which suits base models.
    api_key: By default OPENAI_API_KEY; local servers need none.
    temperature: Sampling temperature.
    top_p: Nucleus.
    max_tokens: Limit of a completion.
    stop: Stop sequences, at most four; () sends none.
    seed: Sent as the sampling seed; None sends none.
    timeout: Seconds for one request.
    max_attempts: Requests for one completion, the first one included.
    max_wait: Seconds a pause lasts at most, whatever the server asks.
  """

  base_url: str
  model: str
  mode: str = 'chat'
  api_key: str | None = None
  temperature: float = 0.7
  top_p: float = 0.95
  max_tokens: int = 256
  stop: tuple[str, ...] = STOP
  seed: int | None = 0
  timeout: float = 60.0
  max_attempts: int = 6
  max_wait: float = 60.0
  _fields: request_fields.Fields = dataclasses.field(
    default_factory=request_fields.Fields, init=False, repr=False, compare=False
  )

  def __post_init__(self):
    if self.mode not in ('chat', 'completion'):
      raise ValueError(f"mode is 'chat' or 'completion', not {self.mode!r}")
    if self.timeout <= 0 or self.max_attempts < 1 or self.max_tokens < 1:
      raise ValueError(
        f'timeout={self.timeout}, max_attempts={self.max_attempts}, '
        f'max_tokens={self.max_tokens}: need more than 0'
      )
    url = urllib.parse.urlsplit(self.base_url)
    if url.scheme not in ('http', 'https') or not url.hostname:
      raise ValueError(
        f'base_url={self.base_url!r} is no address like http://HOST:PORT/v1'
      )
    if len(self.stop) > 4:
      raise ValueError('the API takes at most four stop sequences')

  @property
  def endpoint(self) -> str:
    """The address without any password in it."""
    url = urllib.parse.urlsplit(self.base_url)
    host = url.netloc.rpartition('@')[2]
    return urllib.parse.urlunsplit((url.scheme, host, url.path, '', ''))

  @functools.cached_property
  def _client(self) -> Any:
    import openai  # Takes half a second.

    key = self.api_key or os.environ.get('OPENAI_API_KEY') or 'none'
    # No retries of its own: they are `complete`'s, which counts and logs them.
    return openai.OpenAI(
      base_url=self.base_url, api_key=key, timeout=self.timeout, max_retries=0
    )

  def complete(self, prompt: str) -> Completion:
    """Returns the completion of one prompt.

    Args:
      prompt: Sent as the only user message, or as it is in completion mode.

    Raises:
      EndpointError: If all attempts failed, or the server refused for good.
    """
    return self._complete(prompt, self.max_attempts)

  def probe(self, prompt: str) -> None:
    """Asks what a working endpoint answers, half as many times.

    Raises:
      EndpointError: As `complete` does.
    """
    self._complete(prompt, (self.max_attempts + 1) // 2)

  def _complete(self, prompt: str, attempts: int) -> Completion:
    import openai

    passing = tenacity.Retrying(
      retry=tenacity.retry_if_exception(_may_pass),
      stop=tenacity.stop_after_attempt(attempts),
      wait=functools.partial(_pause, longest=self.max_wait),
      before_sleep=_log_retry,
      reraise=True,
    )
    try:
      return passing(self._request, prompt)
    except (openai.OpenAIError, server_words.BrokenReplyError) as error:
      raise EndpointError(
        f'{self.endpoint}: {self._told(error)}',
        fatal=server_words.is_final(error),
        fault=server_words.fault(error),
      ) from error

  def _told(self, error: BaseException) -> str:
    import openai

    if isinstance(error, openai.APITimeoutError):
      return f'no answer within {self.timeout:g} s (--timeout)'
    return server_words.told(error)

  def _request(self, prompt: str) -> Completion:
    options: dict[str, Any] = {
      'model': self.model,
      'max_tokens': self.max_tokens,
      'temperature': self.temperature,
      'top_p': self.top_p,
    }
    if self.stop:
      options['stop'] = list(self.stop)
    if self.seed is not None:
      options['seed'] = self.seed
    completions: Any = self._client.completions
    asked: dict[str, Any] = {'prompt': prompt}
    if self.mode == 'chat':
      completions = self._client.chat.completions
      asked = {'messages': [{'role': 'user', 'content': prompt}]}
    try:
      response = self._fields.send(
        lambda fields: completions.create(**asked, **fields), options
      )
    except json.JSONDecodeError as error:
      raise server_words.BrokenReplyError('broken JSON', error.doc) from error
    except UnicodeDecodeError as error:
      raise server_words.BrokenReplyError(
        'a reply that is no UTF-8', error.object
      ) from error
    completion = _completion(response, self.model)
    return dataclasses.replace(completion, left_out=self._fields.left_out)


def _completion(response: Any, model: str) -> Completion:
  """Reads either mode's response; the client hardly validates them."""
  try:
    choice = response.choices[0]
    message = getattr(choice, 'message', None)
    text = choice.text if message is None else _content(message.content)
    if message is not None and text is None:
      text = getattr(message, 'refusal', None)
    usage = getattr(response, 'usage', None)
    tokens = getattr(usage, 'total_tokens', None)
    if not isinstance(text, str | None):
      raise TypeError(f'text of type {type(text).__name__}')
    return Completion(
      text or '',
      choice.finish_reason,
      str(response.model or model),
      tokens if isinstance(tokens, int) else None,
    )
  except (AttributeError, IndexError, TypeError) as error:
    raise server_words.BrokenReplyError(
      'no completion in the reply', response
    ) from error


def _content(content: Any) -> Any:
  """Joins the texts of a reply in parts; thinking is a part of its own."""
  if not isinstance(content, list):
    return content
  return ''.join(
    part['text']
    for part in content
    if isinstance(part, dict) and part.get('type') in ('text', 'output_text')
  )


def _may_pass(error: BaseException) -> bool:
  import openai

  if server_words.is_final(error) or server_words.fault(error):
    return False
  if isinstance(error, openai.APIStatusError):
    return error.status_code in (408, 409, 425, 429) or error.status_code >= 500
  return isinstance(
    error,
    server_words.BrokenReplyError
    | openai.APIConnectionError
    | openai.APIResponseValidationError,
  )


def _failure(state: tenacity.RetryCallState) -> BaseException:
  """Returns the error of an attempt; tenacity asks after failed ones only."""
  error = state.outcome.exception() if state.outcome else None
  return error or RuntimeError('no attempt has failed')


def _pause(state: tenacity.RetryCallState, longest: float) -> float:
  asked = server_words.wait_asked(_failure(state))
  jitter = tenacity.wait_random_exponential(multiplier=0.5, max=longest)(state)
  # Some jitter on top, lest all threads come back at the same moment.
  return min(longest, jitter if asked is None else asked + min(1.0, jitter))


def _log_retry(state: tenacity.RetryCallState) -> None:
  logging.warning(
    'instruct: attempt %d failed (%s); next in %.1f s',
    state.attempt_number,
    server_words.told(_failure(state)),
    state.upcoming_sleep,
  )
