"""Batches are, to the bit, those that TensorFlow made before (49c9bdf)."""

import hashlib
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

import dualenc.data
from vidlm.data.feed import batches, tasks, vocabulary

FOLDER = pathlib.Path(__file__).parents[2] / 'testdata' / 'feed'
STEPS = (0, 1, 2, 7, 300)
VOCABULARIES = {
  'words': vocabulary.Vocabulary(str(FOLDER / 'words.model')),
  'sentinels': vocabulary.Vocabulary(str(FOLDER / 'words.model'), 100),
  'gemma': vocabulary.TokenizerFile(str(FOLDER / 'words.json'), 'paligemma'),
  'json': vocabulary.TokenizerFile(str(FOLDER / 'words.json')),
  'clip': dualenc.data.ClipVocabulary(),
}


def configs() -> Iterator[tuple[str, batches.DatasetConfig]]:
  """Names, and what they are trained on."""
  for name, known in VOCABULARIES.items():
    for augment in (False, True):
      lengths = {'inputs': 40, 'targets': 60}
      if name == 'json':  # texts are cut
        lengths = {'inputs': 7, 'targets': 5}
      for what in ('caption', 'question', 'label', 'text', 'mixture'):
        yield (
          f'{name} {what}{" augmented" * augment}',
          batches.DatasetConfig(
            _described(f'golden_{name}', known, what),
            lengths,
            batch_size=12,
            seed=3 + 40_000 * augment,
            frames=tasks.FrameOptions(4, 20, augment),
            converter='dual_encoder' if name == 'clip' else 'encoder_decoder',
          ),
        )


def _described(name, known, what):
  def task(kind, **more):
    return tasks.ClipTask(
      f'{name}_{kind}', known, str(FOLDER), 'clips', kind=kind, **more
    )

  text = task('text', texts='text.jsonl')
  if what == 'text':
    return text
  if what != 'mixture':
    return task(what)
  # Named so that the order of names is another than that of the list.
  return tasks.ClipMixture(
    name, [(text, 1), (task('caption', limit=9), 2.5), (task('question'), 1.0)]
  )


def digest(batch: dict[str, np.ndarray]) -> str:
  """Of the frames and of the tokens, with names, shapes and types."""
  found = []
  for frames in (True, False):
    sha = hashlib.sha256()
    for name, value in sorted(batch.items()):
      if name.startswith('frame') == frames:
        sha.update(f'{name} {value.shape} {value.dtype}'.encode())
        sha.update(value.tobytes())
    found.append(sha.hexdigest()[:12])
  return 'frames {} tokens {}'.format(*found)


def made(config: batches.DatasetConfig) -> dict[str, str]:
  """Digests of some batches, of one process and of the second of two."""
  found = {}
  for process, count in ((0, 1), (1, 2)):
    feed = batches.make_feed(config, max(STEPS) + 1, process, count)
    for step in STEPS:
      found[f'{step} {process}/{count}'] = digest(next(iter(feed(step))))
  return found


def ordered(config: batches.DatasetConfig) -> dict[str, str]:
  """Digests of the batches of evaluation."""
  return {
    ' '.join(ids): digest(batch)
    for ids, batch in batches.evaluation_batches(config)
  }


def everything() -> dict[str, dict[str, str]]:
  """What `batches.json` holds."""
  found = {}
  for name, config in configs():
    found[name] = made(config)
    if 'caption' in name:
      found[f'{name} in order'] = ordered(config)
  return found


WANTED = json.loads((FOLDER / 'batches.json').read_text())


@pytest.mark.parametrize('case', [*configs()], ids=lambda case: case[0])
def test_batches_are_those_of_before(case) -> None:
  name, config = case
  if name.startswith(('clip text', 'clip mixture')):
    # It was taught as a black clip then.
    with pytest.raises(
      ValueError, match='golden_clip_text: 4 of 4 examples are'
    ):
      made(config)
    return
  assert made(config) == WANTED[name]
  if 'caption' in name:
    assert ordered(config) == WANTED[f'{name} in order']
