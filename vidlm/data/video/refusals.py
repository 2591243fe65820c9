"""Why a clip can't be had: codes, and the error that carries one."""

import contextlib
from collections.abc import Iterator

import av

from vidlm.data.video import sampling

# Every code a clip may fail with, here or in `worker`.
REASONS = {
  'not_found': 'there is no such file',
  'outside_folder': 'the path leaves the folder of videos',
  'open_failed': 'not a video of a known kind',
  'no_video_stream': 'sound only',
  'no_decoder': 'a codec this build of FFmpeg lacks',
  'too_large': 'more pixels than allowed',
  'too_many_frames': 'more frames to decode than allowed',
  'truncated': 'the file ends before the clip does',
  'corrupt': 'a part that is needed does not decode',
  'empty': 'the clip has no frame',
  'too_short': 'the file holds less of the clip than asked for',
  'timeout': 'took longer than allowed; the worker was stopped',
  'out_of_memory': 'took more memory than allowed',
  'killed': 'the worker died, each time it was tried',
  'error': 'an error of our own; the message tells',
}


_FILE_ERRORS = (av.FFmpegError, OSError, UnicodeError)


OUT_OF_MEMORY = 'more memory than allowed; see --decode_memory'


class DecodeError(Exception):
  """A clip could not be decoded.

  Attributes:
    code: One of REASONS.
    message: One line: what, where.
  """

  def __init__(self, code: str, message: str):
    if code not in REASONS:
      raise ValueError(f'unknown reason {code!r}')
    self.code = code
    self.message = ' '.join(message.split())
    super().__init__(f'{code}: {self.message}')


def check_size(width: int, height: int, limits: sampling.Limits) -> None:
  """Refuses frames beyond the limit.

  Raises:
    DecodeError: 'too_large'.
  """
  if width * height > limits.max_pixels:
    raise DecodeError(
      'too_large',
      f'frames of {width} x {height} pixels, allowed {limits.max_pixels}; '
      'see --decode_pixels',
    )


@contextlib.contextmanager
def reasons(
  code: str,
  where: str,
  kinds: tuple[type[Exception], ...] = _FILE_ERRORS,
) -> Iterator[None]:
  """Turns errors into a DecodeError of this code, and says where."""
  try:
    yield
  except DecodeError as error:
    if error.message.startswith(where):
      raise
    raise DecodeError(error.code, f'{where}: {error.message}') from None
  except MemoryError:
    raise DecodeError('out_of_memory', f'{where}: {OUT_OF_MEMORY}') from None
  except kinds as error:
    raise DecodeError(code, f'{where}: {error}') from None
