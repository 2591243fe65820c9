"""The corpora on disk: complete, disjoint, deterministic."""

import collections
import json
import os

import numpy as np
import pytest

from vidlm.miniature.world import corpora, grammar, items, pool, prepare
from vidlm.miniature.world.config import MiniatureConfig

SMALL = MiniatureConfig(
  image_text=20,
  text_only=50,
  short_captions=8,
  narratives=4,
  web_clips=6,
  test_retrieval=15,
  test_classification=15,
  test_captioning=4,
  test_qa=6,
)


def _rows(path):
  with open(path, encoding='utf-8') as file:
    return [json.loads(line) for line in file]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('miniature')
  return folder, corpora.make_corpora(
    str(folder), config=SMALL, seed=3, workers=1
  )


def test_every_clip_is_there_and_annotated(made):
  folder, layout = made
  for corpus, path in layout.annotations.items():
    rows = _rows(path)
    truth = corpora.read_truth(layout.truth[corpus])
    assert len(rows) == getattr(SMALL, corpus)
    assert [row['clip_id'] for row in rows] == list(truth)
    for row in rows:
      assert os.path.getsize(folder / row['path']) > 500
      assert row['captions'] and row['caption'] == row['captions'][0]
      assert len(row['questions']) == len(row['answers'])
      if corpus != 'web_clips':
        shares = grammar.caption_shares(
          [(text, truth[row['clip_id']]) for text in row['captions']]
        )
        assert shares.body_and_motion == 1
  assert len(_rows(layout.text_only)) == SMALL.text_only
  test_rows = _rows(layout.annotations['test_captioning'])
  assert all(len(row['captions']) == 4 for row in test_rows)
  assert all(row['questions'] for row in _rows(layout.annotations['test_qa']))


def test_truth_does_not_reach_the_annotations(made):
  _, layout = made
  for path in layout.annotations.values():
    for row in _rows(path):
      assert set(row) == {
        'clip_id',
        'path',
        'caption',
        'captions',
        'questions',
        'answers',
        'label',
      }


def test_two_workers_make_the_same_files(made, tmp_path):
  folder, _ = made
  corpora.make_corpora(str(tmp_path), config=SMALL, seed=3, workers=2)
  names = sorted(p.relative_to(folder) for p in folder.rglob('*.*'))
  assert names == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob('*.*'))
  for name in names:
    assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_a_finished_set_is_not_made_again(made):
  folder, layout = made
  clip = folder / 'narratives' / 'narratives_000000.mp4'
  before = clip.stat().st_mtime_ns
  again = corpora.make_corpora(str(folder), config=SMALL, seed=3, workers=1)
  assert again == layout
  assert clip.stat().st_mtime_ns == before


def test_splits_share_no_scene():
  seen = {}
  for corpus in corpora.CLIP_CORPORA:
    for index in range(12):
      scene, _ = items.make_item(corpus, index, MiniatureConfig(), 0)
      key = scene.tracks.tobytes()
      assert key not in seen, (corpus, index, seen[key])
      seen[key] = (corpus, index)
  other, _ = items.make_item('narratives', 0, MiniatureConfig(), 1)
  assert other.tracks.tobytes() not in seen


def test_retrieval_descriptions_are_distinct_and_many():
  config = MiniatureConfig()
  found = set()
  for index in range(config.test_retrieval):
    scene, row = items.make_item('test_retrieval', index, config, 0)
    found.add((frozenset(b.name for b in scene.bodies), row['label']))
  assert len(found) == config.test_retrieval >= 200


def test_too_many_descriptions_are_refused():
  config = MiniatureConfig(test_retrieval=999)
  with pytest.raises(ValueError, match='270 distinct'):
    items.make_item('test_retrieval', 0, config, 0)


def test_classes_are_balanced():
  config = MiniatureConfig()
  labels = collections.Counter(
    items.make_item('test_classification', i, config, 0)[1]['label']
    for i in range(60)
  )
  assert len(labels) == 15
  assert set(labels.values()) == {4}


def test_stills_are_the_same_whoever_draws_them():
  config = MiniatureConfig(image_text=20)
  jobs = [(config, 0, 0, 7), (config, 0, 7, 20)]
  alone, together = (
    list(pool.in_order(prepare._draw_stills, jobs, workers))
    for workers in (1, 2)
  )
  assert alone == together
  drawn = [row.clip_id for rows in alone for row in rows]
  assert drawn == [still.clip_id for still in corpora.iter_stills(config, 0)]


def test_stills_say_nothing_of_motion():
  stills = list(corpora.iter_stills(MiniatureConfig(image_text=300), 0))
  again = list(corpora.iter_stills(MiniatureConfig(image_text=5), 0))
  assert len({still.clip_id for still in stills}) == 300
  for one, other in zip(stills[:5], again, strict=True):
    np.testing.assert_array_equal(one.image, other.image)
    assert one.caption == other.caption
  empty = 0
  for still in stills:
    mentions = grammar.parse_caption(still.caption)
    assert all(m.colour and m.motion is None for m in mentions)
    empty += not mentions
    assert still.image.shape == (32, 32, 3)
  assert 0 < empty < 30


@pytest.mark.parametrize('side', [31, 8])
def test_odd_sizes_are_refused(side):
  with pytest.raises(ValueError, match='side'):
    MiniatureConfig(side=side)
