"""Beam writes the set a single machine writes, to the byte."""

import pathlib
import sys

import pytest

from vidlm.data.prepare import beam, pipeline, shard_plan, staging
from vidlm.data.video import listing, sampling

BEAM = pipeline.Work(workers=1, beam_pipeline_options='')


@pytest.fixture
def entries(videos, hostile, tmp_path) -> list[listing.Entry]:
  folder = tmp_path / 'videos'
  folder.mkdir()
  good = [
    videos.write(folder / f'{n} a-b.mp4', num_frames=20) for n in range(4)
  ]
  bad = [path for path, _ in hostile.values()]
  found = []
  for number, path in enumerate([*good, *bad]):
    found.append(
      listing.Entry(f'clip {number}', f'{number}.mp4', path, texts=('x',))
    )
  gone = listing.Entry('gone', 'g.mp4', None, reason='not_found')
  return [*found, gone]


def small(num_shards: int) -> dict:
  return {
    'sampling': sampling.Sampling(size=32),
    'layout': pipeline.Layout(num_shards=num_shards),
    'work': pipeline.Work(workers=1),
  }


def content(folder) -> dict[str, bytes]:
  return {
    path.name: path.read_bytes()
    for path in sorted(pathlib.Path(folder).iterdir())
    if path.name != '.lock'
  }


def test_shards_survive_being_sent(entries) -> None:
  shard = shard_plan.Shard('train', 3, entries)
  assert beam.from_element(beam.as_element(shard)) == shard


def test_the_same_set_as_without(entries, tmp_path) -> None:
  pytest.importorskip('apache_beam')
  options = small(num_shards=5)
  one = pipeline.prepare_clips(entries, str(tmp_path / 'one'), **options)
  options['work'] = pipeline.Work(
    workers=1, beam_pipeline_options='direct_num_workers=1'
  )
  many = pipeline.prepare_clips(entries, str(tmp_path / 'many'), **options)
  # Each hostile file is one line with a reason; no worker died of it.
  assert (many.ok, many.failed) == (one.ok, one.failed)
  assert many.ok == 4 and many.total == len(entries)
  assert content(tmp_path / 'one') == content(tmp_path / 'many')


def test_goes_on_after_an_interruption(entries, tmp_path, monkeypatch) -> None:
  pytest.importorskip('apache_beam')
  good = entries[:4]
  output = str(tmp_path / 'out')
  options = small(num_shards=4)
  written = []
  write = staging.write_shard

  def stop_at_the_third(folder, shard, pool, sampling) -> None:
    if shard.number == 2:
      raise KeyError('stop')
    written.append(shard.name)
    write(folder, shard, pool, sampling)

  monkeypatch.setattr(staging, 'write_shard', stop_at_the_third)
  with pytest.raises(Exception, match='stop'):
    pipeline.prepare_clips(good, output, **{**options, 'work': BEAM})
  monkeypatch.setattr(staging, 'write_shard', write)
  # A finished shard is kept; without Beam, it goes on all the same.
  pipeline.prepare_clips(good, output, **options)
  pipeline.prepare_clips(good, str(tmp_path / 'one'), **options)
  assert content(output) == content(tmp_path / 'one')


def test_without_beam_it_says_how_to_get_it(
  entries, tmp_path, monkeypatch
) -> None:
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  with pytest.raises(ImportError, match=r'pip install "vidlm\[beam\]"'):
    pipeline.prepare_clips(entries, str(tmp_path / 'out'), work=BEAM)
