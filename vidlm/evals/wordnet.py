"""WordNet as the NExT-OE evaluation uses it: lemmas and Wu-Palmer similarity.

NLTK reads WordNet and tags parts of speech; what it does otherwise than NLTK
3.3 and pywsd 1.2.4, which made the published figures, is done here: tokens
(`treebank`), pywsd's choice between lemma and stem, and the root that
Wu-Palmer similarity adds above synsets.
"""

import functools
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from vidlm.evals import treebank

HOW_TO_GET = (
  'WUPS needs WordNet and a part-of-speech tagger: '
  "pip install 'vidlm[metrics]' and then python -m nltk.downloader wordnet "
  'averaged_perceptron_tagger_eng, or set NLTK_DATA to a folder that has both'
)
_POS = {'NN': 'n', 'JJ': 'a', 'VB': 'v', 'RB': 'r'}


@runtime_checkable
class Lexicon(Protocol):
  """What WUPS asks of a lexicon."""

  name: str

  def lemmas(self, text: str) -> Sequence[str]:
    """Returns the lower-case lemmas of a text's words."""

  def similarity(self, first: str, second: str) -> float:
    """Returns how alike two words' first senses are, 0 to 1."""


class WordNet:
  """WordNet 3.0 through NLTK; remembers what it has looked up."""

  name = 'WordNet 3.0, first synsets, as NLTK 3.3 and pywsd 1.2.4'

  def __init__(self) -> None:
    """Loads WordNet and the tagger, about two seconds.

    Raises:
      FileNotFoundError: If NLTK or its data isn't there; says how to get them.
    """
    try:
      from nltk.corpus import wordnet
      from nltk.stem import PorterStemmer, WordNetLemmatizer
      from nltk.tag.perceptron import PerceptronTagger

      wordnet.ensure_loaded()
      self._tagger = PerceptronTagger()
    except (ImportError, LookupError) as error:
      raise FileNotFoundError(HOW_TO_GET) from error
    self._wordnet = wordnet
    self._stemmer = PorterStemmer()
    self._lemmatizer = WordNetLemmatizer()
    # Caches of the instance: they go when it goes.
    cache = functools.lru_cache(1 << 20)
    self._lemmas = cache(self._find_lemmas)
    self._similarity = cache(self._find_similarity)
    self._lemma = cache(self._find_lemma)
    self._first = cache(self._find_first)

  def lemmas(self, text: str) -> tuple[str, ...]:
    """Returns the lower-case lemmas of a text's words, as pywsd does.

    A word WordNet has no lemma of becomes its stem if it has that one, and
    stays as it is otherwise.
    """
    return self._lemmas(text)

  def _find_lemmas(self, text: str) -> tuple[str, ...]:
    tagged = self._tagger.tag(treebank.tokenize(text))
    return tuple(
      self._lemma(word.lower(), _POS.get(tag[:2], '')) for word, tag in tagged
    )

  def _find_lemma(self, word: str, pos: str) -> str:
    if not pos:
      # Of no open class in its sentence: what it is by itself, or a noun.
      pos = _POS.get(self._tagger.tag([word])[0][1][:2], 'n')
    lemma = self._lemmatizer.lemmatize(word, pos=pos)
    if self._first(lemma) is not None:
      return lemma
    stem = self._stemmer.stem(word)
    return stem if self._first(stem) is not None else word

  def _find_first(self, word: str) -> Any:
    synsets = self._wordnet.synsets(word)
    return synsets[0] if synsets else None

  def similarity(self, first: str, second: str) -> float:
    """Returns Wu-Palmer similarity of two words' first synsets, 0 to 1.

    Equal words are 1; words without a synset or a common hypernym are 0. The
    order matters: a root above all synsets is assumed if the first is a verb.
    """
    return self._similarity(first, second)

  def _find_similarity(self, first: str, second: str) -> float:
    if first == second:
      return 1.0
    one, two = self._first(first), self._first(second)
    if one is None or two is None:
      return 0.0
    # Later versions of NLTK add it for the second one too, and for adjectives.
    root = one.pos() == 'v'
    subsumers = one.lowest_common_hypernyms(
      two, simulate_root=root, use_min_depth=True
    )
    if not subsumers:
      return 0.0
    subsumer = one if one in subsumers else subsumers[0]
    ways = [
      synset.shortest_path_distance(subsumer, simulate_root=root)
      for synset in (one, two)
    ]
    if None in ways:
      return 0.0
    depth = subsumer.max_depth() + 1
    return 2.0 * depth / (sum(ways) + 2 * depth)
