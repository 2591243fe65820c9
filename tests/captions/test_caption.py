"""Runs of the captioner: rows, reruns, refusals, processes, order."""

import resource
import signal
import threading

import numpy as np
import pytest

from vidlm.captions import batches, caption, identity, progress
from vidlm.data.store import caption_sets as captions_lib


@pytest.fixture
def run(fakes, lines, tmp_path):
  """Captions `lines` with the fake model."""

  def caption_lines(output='out', folder=None, model=None, **options):
    options = {'process_index': 0, 'process_count': 1, **options}
    return caption.caption_source(
      model or fakes.FakeCaptioner(),
      fakes.FolderOfLines(folder or lines),
      str(tmp_path / output),
      caption.Run(**options),
    )

  return caption_lines


def by_id(folder):
  table = captions_lib.read_captions(folder)
  return {row['clip_id']: row for row in table.to_pylist()}


def test_rows(run, lines, tmp_path):
  summary = run()
  assert summary.finished and summary.new_files == 5
  assert (summary.clips, summary.ok, summary.failed) == (20, 16, 4)
  table = captions_lib.read_captions(tmp_path / 'out')
  wanted = [
    line
    for file in sorted(lines.iterdir())
    for line in file.read_text().splitlines()
  ]
  assert table['clip_id'].to_pylist() == wanted
  rows = by_id(tmp_path / 'out')
  assert rows['clip-0-1-bad']['error'] == 'corrupt: it is bad'
  assert rows['clip-0-1-bad']['captions'] == []
  # A model that gives NaN has not given captions.
  assert 'not finite' in rows['clip-0-2-black']['error']
  good = rows['clip-0-3']
  assert (good['status'], good['error'], good['model']) == ('ok', '', 'fake')
  assert [len(good[c]) for c in ('captions', 'logprobs', 'lengths')] == [3] * 3
  assert len({row['config_hash'] for row in rows.values()}) == 1


def test_captions_do_not_depend_on_order(run, lines, tmp_path):
  run()
  turned = tmp_path / 'turned'
  turned.mkdir()
  everything = [
    line
    for file in sorted(lines.iterdir())
    for line in file.read_text().splitlines()
  ]
  (turned / 'a.txt').write_text('\n'.join(reversed(everything)))
  run('turned_out', turned)
  first, second = by_id(tmp_path / 'out'), by_id(tmp_path / 'turned_out')
  for clip_id, row in first.items():
    assert row == second[clip_id]


def test_processes_share_a_run(run, tmp_path, hashes):
  run('one')
  threads = [
    threading.Thread(
      target=run,
      args=('three',),
      kwargs={'process_index': i, 'process_count': 3, 'wait_seconds': 30.0},
    )
    for i in range(3)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert hashes(tmp_path / 'one') == hashes(tmp_path / 'three')


def test_more_processes_than_files(run, tmp_path, hashes):
  run('one')
  for index in range(8, -1, -1):
    summary = run('nine', process_index=index, process_count=9)
    assert summary.finished == (index == 0)
  assert hashes(tmp_path / 'one') == hashes(tmp_path / 'nine')


def test_rerun_does_nothing(run, fakes, tmp_path, hashes):
  run()
  before = hashes(tmp_path / 'out')
  times = {p: p.stat().st_mtime_ns for p in (tmp_path / 'out').iterdir()}
  model = fakes.FakeCaptioner()
  summary = run(model=model)
  assert summary.new_files == 0 and model.batches == []
  assert hashes(tmp_path / 'out') == before
  assert all(p.stat().st_mtime_ns == t for p, t in times.items())


def test_replaced_input_is_done_again(run, fakes, lines, tmp_path):
  run()
  file = lines / '1.txt'
  file.write_text(file.read_text().replace('clip-1-2', 'other-1-2'))
  model = fakes.FakeCaptioner()
  summary = run(model=model)
  assert summary.new_files == 1 and len(model.batches) == 1
  assert 'other-1-2' in by_id(tmp_path / 'out')


def test_no_manifest_while_inputs_changed(run, fakes, lines, tmp_path):
  run()
  (lines / '1.txt').write_text('changed')

  class Broken(fakes.FakeCaptioner):
    def submit(self, *args):
      raise RuntimeError('device lost')

  with pytest.raises(RuntimeError, match='device lost'):
    run(model=Broken())
  with pytest.raises(FileNotFoundError, match='no finished caption set'):
    captions_lib.read_captions(tmp_path / 'out')
  run()
  assert 'changed' in by_id(tmp_path / 'out')


def test_another_number_of_files_leaves_nothing_behind(
  run, lines, tmp_path, hashes
):
  run()
  (lines / '5.txt').write_text('new')
  run()
  run('fresh')
  assert hashes(tmp_path / 'out') == hashes(tmp_path / 'fresh')


@pytest.mark.parametrize('change', [{'prompt': 'What?'}, {'num_samples': 2}])
def test_other_settings_are_refused(run, fakes, tmp_path, hashes, change):
  run()
  before = hashes(tmp_path / 'out')
  name = next(iter(change))
  with pytest.raises(ValueError, match='is another set') as error:
    run(model=fakes.FakeCaptioner(**change))
  assert f'{name}: ' in str(error.value) and '--overwrite' in str(error.value)
  assert hashes(tmp_path / 'out') == before
  run(model=fakes.FakeCaptioner(**change), overwrite=True)
  run('fresh', model=fakes.FakeCaptioner(**change))
  assert hashes(tmp_path / 'out') == hashes(tmp_path / 'fresh')


def test_other_settings_are_refused_before_the_end(run, fakes, tmp_path):
  run()
  (tmp_path / 'out' / 'manifest.json').unlink()
  with pytest.raises(ValueError, match='prompt: '):
    run(model=fakes.FakeCaptioner('What?'))


def test_damaged_file_is_done_again(run, tmp_path, hashes):
  run()
  before = hashes(tmp_path / 'out')
  path = tmp_path / 'out' / captions_lib.file_name(4, 5)
  path.write_bytes(path.read_bytes()[:100])
  assert run().new_files == 1
  assert hashes(tmp_path / 'out') == before


def test_leftovers_are_cleaned_up(run, tmp_path, hashes):
  run()
  before = hashes(tmp_path / 'out')
  (tmp_path / 'out' / '.captions-00000-of-00005.parquet.ab.partial').touch()
  run()
  assert hashes(tmp_path / 'out') == before


def test_failed_clips_can_be_tried_again(run, fakes):
  run()
  model = fakes.FakeCaptioner()
  assert run(model=model, retry_failed=True).new_files == 2
  assert model.batches


def test_late_process_of_another_set_is_stopped(run, fakes, tmp_path):
  class Slow(fakes.FakeCaptioner):
    def submit(self, *args):
      run(model=fakes.FakeCaptioner('What?'), overwrite=True)
      return super().submit(*args)

  with pytest.raises(ValueError, match='another run with other settings'):
    run(model=Slow())
  assert by_id(tmp_path / 'out')


def test_silent_process_is_named(run):
  with pytest.raises(
    ValueError, match=r'00001-of-00005\.parquet \(process 1\)'
  ):
    run(process_index=0, process_count=2, wait_seconds=0.3)


def test_stale_file_of_another_process_is_not_taken(run, lines):
  run()
  (lines / '3.txt').write_text('changed')
  with pytest.raises(
    ValueError, match=r'00003-of-00005\.parquet \(process 1\)'
  ):
    run(process_index=0, process_count=2, wait_seconds=0.3)
  run(process_index=1, process_count=2)
  assert run(process_index=0, process_count=2, wait_seconds=0.3).finished


def test_full_disk(run, tmp_path, hashes):
  run('one')
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
  try:
    with pytest.raises(ValueError, match='no room for it'):
      run()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, old)
  assert hashes(tmp_path / 'out') == {}
  run()
  assert hashes(tmp_path / 'out') == hashes(tmp_path / 'one')


def test_output_that_is_a_file(run, tmp_path):
  (tmp_path / 'out').touch()
  with pytest.raises(ValueError, match='--output='):
    run()


def test_error_while_decoding_is_raised_and_the_source_closed(
  fakes, lines, tmp_path
):
  source = fakes.FolderOfLines(lines)
  source._clip = lambda line: 1 / 0
  with pytest.raises(ZeroDivisionError):
    caption.caption_source(
      fakes.FakeCaptioner(),
      source,
      str(tmp_path / 'out'),
      run=caption.Run(process_index=0, process_count=1),
    )
  assert source.closed


def test_give_one_kind_of_input(fakes):
  with pytest.raises(ValueError, match='either a clip set or a folder'):
    caption.caption(captioner=fakes.FakeCaptioner(), output='x')


def test_batches_are_of_one_shard_and_one_shape(fakes, lines):
  source = fakes.FolderOfLines(lines)
  made = list(batches.make(source, [0, 2, 4], 4))
  assert [b.shard for b in made] == [0, 0, 2, 4, 4]
  assert [b.last for b in made] == [False, True, True, False, True]
  assert [len(b.clips) for b in made] == [5, 4, 0, 5, 1]
  assert made[2].arrays is None
  frames, mask, ids = made[1].arrays
  assert frames.shape == (4, 2, 4, 4, 3) and mask.shape == (4, 2)
  assert ids[0] == identity.hash32('clip-0-5') and ids.dtype == np.uint32


def test_hash32_is_fixed():
  assert identity.hash32('clip-0-5') == identity.hash32('clip-0-5')
  assert identity.hash32('a') != identity.hash32('b')
  # Every set of captions ever made depends on this number.
  assert identity.hash32('clip') == 2359697409


def test_weights_digest_sees_names_types_and_values():
  base = {'img': {'w': np.zeros((2, 3), np.float32)}, 'llm': np.ones(1)}
  digest = identity.weights_digest(base)
  assert digest == identity.weights_digest(dict(reversed(base.items())))
  others = [
    {'img': {'v': base['img']['w']}, 'llm': base['llm']},
    {'img': {'w': np.zeros((3, 2), np.float32)}, 'llm': base['llm']},
    {'img': {'w': np.zeros((2, 3), np.int32)}, 'llm': base['llm']},
    {'img': {'w': base['img']['w'] + 1e-30}, 'llm': base['llm']},
  ]
  digests = {identity.weights_digest(other) for other in others}
  assert len(digests | {digest}) == 5


def test_progress_line():
  now = [0.0]
  shown = progress.Progress(2, 8, clock=lambda: now[0])
  for i in range(4):
    now[0] += 0.5
    shown.add(3 * (i < 3), failed=i == 3)
  assert shown.line() == (
    'caption: 4 of 8 clips, 1 failed; file 1 of 2; 2.00 clips/s, '
    '4.50 captions/s; 0:00:02 left'
  )
  # What came before the first batch, such as compilation, is left out.
  shown.warm_up()
  for _ in range(2):
    now[0] += 0.25
    shown.add(3)
  shown.warm_up()
  assert '4.00 clips/s, 12.00 captions/s; 0:00:00 left' in shown.line()
  assert shown.summary() == (
    'caption: 6 clips, 1 failed, 15 captions in 0:00:02; 4.00 clips/s, '
    '12.00 captions/s'
  )
  unknown = progress.Progress(4, None, clock=lambda: now[0])
  unknown.add(1)
  unknown.warm_up()  # all of it was the first batch: no rate to tell
  assert unknown.summary().endswith('1 captions in 0:00:00')
  assert unknown.line().endswith('unknown time left')
  now[0] += 60
  unknown.finish_shard()
  assert unknown.line().endswith('0:03:00 left')
