"""The notebooks run from top to bottom on real data, and are right."""

import json
import pathlib
import re
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[2] / 'notebooks'
PATHS = sorted(NOTEBOOKS.glob('*.ipynb'))


def table(split):
  """A table as the kernel wrote it."""
  return pd.DataFrame(**split)


def html_of(notebook, start):
  """HTML shown by the cells whose last line begins so."""
  return [
    output.data['text/html']
    for cell in notebook.cells
    if cell.cell_type == 'code'
    and cell.source.splitlines()[-1].startswith(start)
    for output in cell.outputs
    if 'text/html' in output.get('data', {})
  ]


def rows_of(page):
  """Table rows of a gallery, its head left out."""
  return re.findall(r'<tr><td.*?</tr>', page, re.DOTALL)


def plots_of(notebook):
  return sum(
    'image/png' in output.get('data', {})
    for cell in notebook.cells
    for output in cell.get('outputs', ())
  )


def test_both_are_here():
  assert [p.stem for p in PATHS] == ['inspect_captions', 'zero_shot']


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_stored_without_outputs_and_absolute_paths(path):
  notebook = nbformat.read(path, 4)
  nbformat.validate(notebook)
  assert set(notebook.metadata) == {'kernelspec', 'language_info'}
  assert notebook.metadata.kernelspec.name == 'python3'
  assert set(notebook.metadata.language_info) == {'name'}
  for cell in notebook.cells:
    assert not cell.metadata
    # A slash that starts a word, but doesn't divide what stands before it.
    assert not re.search(r"""(?<![\w)\]. ])/\w|~/|\w:\\""", cell.source)
    if cell.cell_type == 'code':
      assert cell.outputs == [] and cell.execution_count is None
      assert len(cell.source.splitlines()) <= 30


def test_inspect_captions(execute, tiny_run):
  sets = {n: str(tiny_run.root / 'captions' / n) for n in tiny_run.said}
  word = 'square'
  notebook, seen = execute(
    'inspect_captions',
    {
      'CAPTION_SETS': json.dumps(sets),
      'CLIPS': tiny_run.root / 'data' / 'web_clips',
      'WORD': word,
    },
    [
      *('captions', 'found', 'filtered', 'failed', 'overview', 'longest'),
      *('unlikely', 'words', 'repeated', 'MAX_WORDS', 'PATTERN', 'ROWS'),
      'KEYFRAMES',
    ],
  )
  captions = table(seen.captions)
  said = {
    model: [text for pair in lines.values() for text in pair if text]
    for model, lines in tiny_run.said.items()
  }
  told = captions[captions['status'] == 'ok'].groupby('model')['caption']
  assert {model: list(texts) for model, texts in told} == said
  failed = table(seen.failed)
  assert list(failed.model + failed.clip_id) == ['terse' + tiny_run.lost]
  assert list(table(seen.overview).captions) == [len(t) for t in said.values()]

  everything = [text for texts in said.values() for text in texts]
  found = list(table(seen.found).caption)
  wanted = [t for t in everything if word in t.lower().split()]
  assert found == wanted and 0 < len(found) < len(everything)
  filtered = table(seen.filtered)
  assert all(len(t.split()) <= seen.MAX_WORDS for t in filtered.caption)
  assert all(re.search(seen.PATTERN, t, re.I) for t in filtered.caption)

  lengths = [len(text.split()) for text in everything]
  longest = sorted(lengths, reverse=True)[: seen.ROWS]
  assert list(table(seen.longest).words) == longest
  # The scripted log-probability falls with every letter.
  lengths = sorted(map(len, everything), reverse=True)[: seen.ROWS]
  assert [len(t) for t in table(seen.unlikely).caption] == lengths
  word = table(seen.words).iloc[0]
  for model, texts in said.items():
    holds = [word.name in re.findall(r'\w+', t.lower()) for t in texts]
    assert word[model] == pytest.approx(np.mean(holds))
  top = table(seen.repeated).iloc[0]
  assert top.sum() == max(map(everything.count, everything))

  first, searched, last = html_of(notebook, 'show(')
  clips = list(tiny_run.said['terse'])
  with_word = list(dict.fromkeys(table(seen.found).clip_id))
  for page, shown in ((first, clips), (searched, with_word)):
    assert [c for c in shown if c in page] == shown[: seen.ROWS]
    assert len(rows_of(page)) == min(seen.ROWS, len(shown))
    assert page.count('<img') == len(rows_of(page)) * seen.KEYFRAMES
  assert '(error: a log-probability is not finite' in first
  assert all('<mark>' in row.lower() for row in rows_of(searched))
  assert '<mark>' not in first + last and '(no frames)' not in first + last
  assert plots_of(notebook) == 2


def test_zero_shot(execute, tiny_run, towers):
  clip_set = str(tiny_run.root / 'data' / 'test_retrieval')
  queries = ['a red ring moves left', 'a blue bar falls', 'nothing']
  notebook, seen = execute(
    'zero_shot',
    {'CHECKPOINT': towers, 'CLIPS': clip_set, 'QUERIES': json.dumps(queries)},
    [
      *('probabilities', 'predicted', 'class_scores', 'hits', 'accuracy'),
      *('confusion', 'recall', 'similarity', 'texts', 'labels', 'some', 'TOP'),
      *('KEYFRAMES',),
    ],
  )
  clip_ids = list(seen.texts)
  assert len(clip_ids) == 15
  probabilities = table(seen.probabilities)
  assert list(probabilities.index) == clip_ids
  assert set(probabilities.columns) == set(seen.labels.values())
  np.testing.assert_allclose(probabilities.sum(axis=1), 1)
  assert probabilities.to_numpy().std() > 0
  best = np.argmax(seen.class_scores, axis=1)
  predicted = dict(zip(clip_ids, probabilities.columns[best], strict=True))
  assert dict(zip(clip_ids, seen.predicted['data'], strict=True)) == predicted

  confusion = table(seen.confusion)
  right = [predicted[c] == label for c, label in seen.labels.items()]
  assert np.trace(confusion) == sum(right) and confusion.to_numpy().sum() == 15
  assert seen.accuracy['top1'] == pytest.approx(np.mean(right))

  # Each clip has one text, and all are in the heat map.
  similarity = np.array(seen.similarity)
  assert similarity.shape == (15, 15) and seen.some == clip_ids
  ranks = (similarity > np.diag(similarity)[:, None]).sum(axis=1)
  for k in (1, 5, 10):
    assert seen.recall['t2v'][f'R@{k}'] == pytest.approx(np.mean(ranks < k))

  assert list(seen.hits) == queries
  for hits in seen.hits.values():
    assert len({hit['clip_id'] for hit in hits}) == len(hits) == seen.TOP
    scores = [hit['score'] for hit in hits]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]
  pages = html_of(notebook, '  display(show(')
  assert len(pages) == len(queries)
  for page, hits in zip(pages, seen.hits.values(), strict=True):
    for row, hit in zip(rows_of(page), hits, strict=True):
      assert hit['clip_id'] in row and f'{hit["score"]:.3f}' in row
      assert row.count('<img') == seen.KEYFRAMES
      assert seen.texts[hit['clip_id']][0] in row
  assert plots_of(notebook) == 2


def test_zero_shot_on_a_folder_of_videos(execute, tiny_run, towers, tmp_path):
  """No texts, no labels, a file that is no video, classes of one's own."""
  videos = tiny_run.root / 'data' / 'videos' / 'test_captioning'
  shutil.copytree(videos, tmp_path / 'films')
  (tmp_path / 'films' / 'broken.mp4').write_bytes(b'no video')
  classes = ['falls', 'stands still', 'moves left']
  notebook, seen = execute(
    'zero_shot',
    {
      'CHECKPOINT': towers,
      'CLIPS': tmp_path / 'films',
      'CLASSES': json.dumps(classes),
      'TEMPLATES': 'kinetics_openai',
    },
    ['probabilities', 'recall', 'accuracy', 'hits', 'similarity', 'QUERIES'],
  )
  probabilities = table(seen.probabilities)
  assert list(probabilities.columns) == classes and len(probabilities) == 2
  np.testing.assert_allclose(probabilities.sum(axis=1), 1)
  assert seen.recall == seen.accuracy == {}
  assert [len(hits) for hits in seen.hits.values()] == [2, 2]
  assert np.shape(seen.similarity) == (len(seen.QUERIES), 2)
  assert '1 unreadable' in str(notebook.cells)
