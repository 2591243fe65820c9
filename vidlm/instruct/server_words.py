"""What a server says when it gives no completion, and what that means."""

import datetime
import email.utils
import html
import json
import time
from collections.abc import Iterable
from typing import Any

import regex

_LONGEST = 300
# Whose fault it is that a request is refused: the prompt's.
TOO_LONG, FILTERED, REFUSED = (
  'prompt_too_long',
  'content_filter',
  'request_refused',
)
_TOO_LONG = regex.compile(
  r'(?i)context[ _-]?(?:length|size|window)|maximum (?:context|input|prompt)|'
  r'(?:prompt|input|request|message)s? (?:is |are |was )?too (?:long|large)|'
  r'too many (?:input )?tokens|exceeds? .{0,40}(?:context|tokens|n_ctx)|'
  r'max_model_len|payload too large'
)
_FILTERED = regex.compile(
  r'(?i)content[ _-]?(?:filter|policy|management|moderation)|moderation|'
  r'responsible ?ai|safety (?:system|settings|filter)|flagged|'
  r'violat\w+ .{0,40}polic|prohibited content|inappropriate content'
)
_QUOTA = regex.compile(
  r'(?i)insufficient[ _](?:quota|credits?|balance|funds)|billing|'
  r'exceeded your current quota|out of credits?|credit balance|'
  r'quota[ _]exceeded|payment required'
)
_UNSUPPORTED = regex.compile(
  r"(?i)unsupported|not supported|does(?: not|n't) support|unrecognized|"
  r'unknown|unexpected|\bextra\b|not permitted|not allowed|additional propert|'
  r'no such (?:field|parameter)|invalid (?:parameter|argument|field)|'
  r'only the default|not implemented|not available|cannot both|'
  r'use .{1,40}instead'
)
_REFUSALS = (400, 403, 413, 414, 422, 451)


class BrokenReplyError(Exception):
  """A reply of status 200 that is no completion.

  Attributes:
    body: What it holds, as far as that was read.
    status_code: The status that it names in its text, if it does.
  """

  def __init__(self, message: str, body: Any = None):
    super().__init__(message)
    self.body = body
    code = _error_of(body).get('code')
    self.status_code = code if isinstance(code, int) else None


def _plain(value: Any) -> Any:
  """Returns the JSON of a client's objects."""
  dump = getattr(value, 'model_dump', None)
  return dump(warnings=False) if callable(dump) else value


def _error_of(body: Any) -> dict[str, Any]:
  """Returns the object in which a reply tells its error."""
  body = _plain(body)
  if not isinstance(body, dict):
    return {}
  inside = body.get('error', body)
  return inside if isinstance(inside, dict) else body


def _of_details(details: Any) -> str:
  """Reads the list of faults that FastAPI's servers send."""
  if isinstance(details, str):
    return details
  if not isinstance(details, list):
    return ''
  told = []
  for detail in details:
    if isinstance(detail, dict):
      where = '.'.join(map(str, detail.get('loc', ())))
      told.append(f'{where}: {detail.get("msg", "")}'.strip(': '))
    else:
      told.append(str(detail))
  return '; '.join(told)


def _text_of(body: Any) -> str:
  body = _plain(body)
  if isinstance(body, dict):
    error = _error_of(body)
    if isinstance(body.get('error'), str):
      return body['error']
    for name in ('message', 'detail', 'title', 'error_message', 'reason'):
      if error.get(name):
        return _of_details(error[name]) or str(error[name])
    return json.dumps(body, ensure_ascii=False) if body else ''
  if isinstance(body, bytes):
    body = body.decode('utf-8', 'replace')
  return body if isinstance(body, str) else ''


def of(error: BaseException) -> str:
  """Returns the server's own words, or those of the connection to it.

  Args:
    error: As the client raised it.

  Returns:
    One line of at most 300 characters.
  """
  text = _text_of(getattr(error, 'body', None))
  response = getattr(error, 'response', None)
  if not text and response is not None:
    text = response.text
  if not text and error.__cause__ is not None:
    text = str(error.__cause__)
  text = text or str(error) or type(error).__name__
  if regex.search(r'(?i)<html|<!doctype|<body', text):
    text = html.unescape(regex.sub(r'<[^<>]*>', ' ', text))
  text = ' '.join(text.split())
  return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'


def told(error: BaseException) -> str:
  """Returns the server's words behind its status."""
  status = getattr(error, 'status_code', None)
  kind = str(error) if isinstance(error, BrokenReplyError) else ''
  head = f'HTTP {status}' if status and not kind else kind
  words = of(error)
  return f'{head}: {words}' if head and head != words else words


def is_final(error: BaseException) -> bool:
  """Whether no other prompt will fare better: a bad key, an empty account."""
  status = getattr(error, 'status_code', None)
  if status in (401, 402, 404):
    return True
  codes = _error_of(getattr(error, 'body', None))
  named = f'{codes.get("code")} {codes.get("type")}'
  if status is None or not 400 <= status < 500:
    return False
  if _QUOTA.search(named):
    return True
  return bool(_QUOTA.search(of(error))) and wait_asked(error) is None


def fault(error: BaseException) -> str:
  """Returns why a prompt was refused; '' if another try may pass."""
  status = getattr(error, 'status_code', None)
  if status is None:
    return ''
  words = of(error)
  code = str(_error_of(getattr(error, 'body', None)).get('code'))
  if status in _REFUSALS or status >= 500:
    if _TOO_LONG.search(f'{words} {code}'):
      return TOO_LONG
    if status < 500 and _FILTERED.search(f'{words} {code}'):
      return FILTERED
  return REFUSED if status in _REFUSALS else ''


def refused_field(error: BaseException, sent: Iterable[str]) -> str | None:
  """Returns the field of a request that a server doesn't know, by its name.

  Args:
    error: As the client raised it.
    sent: Names of the fields that could be at fault.

  Returns:
    The first of those names that the server says it doesn't take.
  """
  if getattr(error, 'status_code', None) not in (400, 422):
    return None
  body = getattr(error, 'body', None)
  words = of(error)
  if not _UNSUPPORTED.search(words):
    return None
  param = _error_of(body).get('param')
  for name in sent:
    if param == name or regex.search(
      rf'["\'`“]{name}["\'`”]|\bbody\.{name}\b|\b{name}\s*:'
      rf'|(?:argument|parameter|field|propert(?:y|ies)|option|key)s?'
      rf'(?:\s+supplied)?\s*:?\s+{name}\b'
      rf'|\b{name}\b (?:is|are) (?:not|un)',
      words,
    ):
      return name
  return None


def wait_asked(error: BaseException) -> float | None:
  """Returns the seconds a server asks to wait: a number or a date."""
  response = getattr(error, 'response', None)
  if response is None:
    return None
  for name, unit in (('retry-after-ms', 1000.0), ('retry-after', 1.0)):
    value = response.headers.get(name)
    if not value:
      continue
    try:
      return max(0.0, float(value) / unit)
    except ValueError:
      pass
    try:
      date: datetime.datetime = email.utils.parsedate_to_datetime(value)
      return max(0.0, date.timestamp() - time.time())
    except ValueError:
      pass
  return None
