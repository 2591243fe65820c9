"""CLIP's byte-pair tokenizer.

Source: openai/CLIP `clip/simple_tokenizer.py` and `clip.tokenize` with
`truncate=True`; the ids are the same.
"""

import functools
import gzip
import html
import importlib.resources
import itertools
from collections.abc import Sequence

import ftfy
import numpy as np
import regex
from jaxtyping import Int

_MERGES = 'bpe_simple_vocab_16e6.txt.gz'
_NUM_MERGES = 49152 - 256 - 2  # OpenAI's file holds more than CLIP uses.
_SOT = '<|startoftext|>'
_EOT = '<|endoftext|>'
# The special tokens are found in any text, as in OpenAI's tokenizer.
_WORD = regex.compile(
  r'<\|startoftext\|>|<\|endoftext\|>'
  r"|'s|'t|'re|'ve|'m|'ll|'d"
  r'|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+',
  regex.IGNORECASE,
)
_SPACE = regex.compile(r'\s+')
_CACHED_WORDS = 1 << 17


class CLIPTokenizer:
  """Texts to the ids of CLIP's 49,408 tokens.

  Attributes:
    sot_id: start of text, 49406.
    eot_id: end of text, 49407, the highest id.
    vocab_size: 49408.
  """

  def __init__(self, path: str | None = None):
    """Reads the merges.

    Args:
      path: a merges file in OpenAI's format; None takes the one shipped here.

    Raises:
      FileNotFoundError: if there is no such file.
    """
    merges = _read_merges(path)
    letters = list(_byte_letters().values())
    tokens = letters + [letter + '</w>' for letter in letters]
    tokens += [''.join(pair) for pair in merges] + [_SOT, _EOT]
    self._ids = {token: i for i, token in enumerate(tokens)}
    self._tokens = tokens
    self._ranks = {pair: i for i, pair in enumerate(merges)}
    self._letters = _byte_letters()
    self._bytes = {letter: byte for byte, letter in self._letters.items()}
    self.sot_id = self._ids[_SOT]
    self.eot_id = self._ids[_EOT]
    self.vocab_size = len(tokens)
    # Captions repeat their words: nearly every word is a hit.
    self._word_ids = functools.lru_cache(_CACHED_WORDS)(self._encode_word)

  def encode(self, text: str) -> list[int]:
    """Returns the ids of a text, without start and end."""
    ids: list[int] = []
    for word in _WORD.findall(clean(text)):
      ids.extend(self._word_ids(word))
    return ids

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids, special tokens included; a word ends in ' '."""
    letters = ''.join(self._tokens[int(i)] for i in ids)
    raw = bytearray(self._bytes[letter] for letter in letters)
    return raw.decode('utf-8', errors='replace').replace('</w>', ' ')

  def __call__(
    self, texts: str | Sequence[str], context_length: int = 77
  ) -> Int[np.ndarray, 'b l']:
    """Tokenizes texts for the text tower.

    Args:
      texts: one or many.
      context_length: number of ids in a row; of a text that is too long the
        rest is cut and the last id is the end of text.

    Returns:
      int32 [number of texts, context_length]: start, words, end, zeros.
    """
    texts = [texts] if isinstance(texts, str) else texts
    rows = [[self.sot_id, *self.encode(text)] for text in texts]
    return _to_array(rows, context_length, self.eot_id)

  def _encode_word(self, word: str) -> tuple[int, ...]:
    if word in (_SOT, _EOT):
      return (self._ids[word],)
    pieces = [self._letters[byte] for byte in word.encode('utf-8')]
    pieces[-1] += '</w>'
    return tuple(self._ids[piece] for piece in self._merge(pieces))

  def _merge(self, pieces: list[str]) -> list[str]:
    """Merges the pair of lowest rank, everywhere, until no pair has a rank."""
    while len(pieces) > 1:
      pairs = itertools.pairwise(pieces)
      best = min(pairs, key=lambda pair: self._ranks.get(pair, np.inf))
      if best not in self._ranks:
        break
      merged, i = [], 0
      while i < len(pieces):
        step = 2 if tuple(pieces[i : i + 2]) == best else 1
        merged.append(''.join(pieces[i : i + step]))
        i += step
      pieces = merged
    return pieces


def clean(text: str) -> str:
  """Repairs broken Unicode and HTML, collapses white space, lowers case."""
  text = html.unescape(html.unescape(ftfy.fix_text(text)))
  return _SPACE.sub(' ', text).strip().lower()


def _to_array(
  rows: Sequence[list[int]], length: int, end: int
) -> Int[np.ndarray, 'b l']:
  ids = np.zeros((len(rows), length), np.int32)
  for i, row in enumerate(rows):
    row = [*row[: length - 1], end]
    ids[i, : len(row)] = row
  return ids


def _read_merges(path: str | None) -> list[tuple[str, ...]]:
  if path is None:
    source = importlib.resources.files('dualenc').joinpath(_MERGES)
    packed = source.read_bytes()
  else:
    with open(path, 'rb') as file:
      packed = file.read()
  lines = gzip.decompress(packed).decode('utf-8').split('\n')
  return [tuple(line.split()) for line in lines[1 : _NUM_MERGES + 1]]


@functools.cache
def _byte_letters() -> dict[int, str]:
  """A printable letter for each byte, in the order of CLIP's first 256 ids."""
  printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
  rest = [byte for byte in range(256) if byte not in printable]
  letters = {byte: chr(byte) for byte in printable}
  return letters | {byte: chr(256 + i) for i, byte in enumerate(rest)}
