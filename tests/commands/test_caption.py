"""`vidlm caption`: what --verify finds, --repair and --retry_failed do."""

import shutil

import numpy as np
import pytest

import dualenc
import vidlm
from vidlm.data.store import caption_sets as captions_lib

# A file of captions for every video, so that each can be told from the others.
ONE_A_FILE = """from __gin__ import dynamic_registration
from vidlm.captions import folder
folder.Cutting.videos_per_file = 1
"""


@pytest.fixture(scope='module')
def flags(call, data, trained, tmp_path_factory):
  """Flags that made a set of four videos, one of which is broken."""
  folder = tmp_path_factory.mktemp('caption')
  (folder / 'films').mkdir()
  source = sorted((data / 'videos' / 'web_clips').glob('*.mp4'))
  for name, path in zip('acd', source, strict=False):
    shutil.copy(path, folder / 'films' / f'{name}.mp4')
  (folder / 'films' / 'b.mp4').write_bytes(b'this is no video')
  (folder / 'one.gin').write_text(ONE_A_FILE)
  made = [
    'caption',
    f'--output={folder / "set"}',
    f'--videos={folder / "films"}',
    f'--checkpoint={trained["vidlm"]}',
    f'--gin_file={folder / "one.gin"}',
    '--num_samples=2',
    '--max_length=6',
    '--clips_per_device=1',
    '--workers=1',
  ]
  assert call('vidlm', made) == 0
  return made


@pytest.fixture
def output(flags, tmp_path):
  """A copy of the finished set, with its times."""
  shutil.copytree(flags[1].split('=')[1], tmp_path / 'set')
  return tmp_path / 'set'


@pytest.fixture
def run(call, flags, output, capsys):
  """Runs the command on the copy with further flags; status and lines."""

  def run_again(*more, checkpoint=True):
    capsys.readouterr()
    first, _, *rest = flags if checkpoint else flags[:2]
    code = call('vidlm', [first, f'--output={output}', *rest, *more])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err.splitlines()

  return run_again


def files(output):
  return {p.name: p.read_bytes() for p in output.iterdir()}


def times(output):
  return {p.name: p.stat().st_mtime_ns for p in output.iterdir() if p.is_file()}


def changed(before, output):
  return {name for name, t in times(output).items() if before.get(name) != t}


SECOND = captions_lib.file_name(1, 4)
THIRD = captions_lib.file_name(2, 4)


def damage(output):
  path = output / THIRD
  raw = bytearray(path.read_bytes())
  raw[60] ^= 0x10
  path.write_bytes(raw)


def test_a_set_and_a_second_run(run, output):
  before = times(output)
  table = captions_lib.read_captions(output).to_pylist()
  assert [row['status'] for row in table] == ['ok', 'failed', 'ok', 'ok']
  assert [len(row['captions']) for row in table] == [2, 0, 2, 2]
  code, (line,), _ = run()
  assert code == 0
  assert line == (
    f'{output}: 4 clips (3 ok, 1 failed) in 4 files, 0 of them new; finished'
    '; 4 files found: 3 films, 0 stills, 1 skipped (open_failed 1)'
  )
  assert times(output) == before
  code, (line,), _ = run('--verify', checkpoint=False)
  assert code == 0 and '4 clips (1 failed) in 4 files' in line


def test_repair_does_the_damaged_file_again_and_no_other(run, output):
  whole, before = files(output), times(output)
  damage(output)
  code, lines, _ = run('--verify', checkpoint=False)
  assert code == 1 and any(THIRD in line for line in lines)
  code, lines, _ = run('--repair')
  assert code == 0
  assert lines[0] == f'{output}: {THIRD} was damaged and is removed'
  assert '1 of them new; finished' in lines[-1]
  assert files(output) == whole  # to the byte
  assert changed(before, output) == {THIRD, captions_lib.MANIFEST}
  assert run('--repair')[0] == 0
  assert files(output) == whole


def test_repair_without_a_checkpoint_leaves_the_rest_to_the_command(
  run, output
):
  whole = files(output)
  assert run('--repair', checkpoint=False)[0] == 0
  damage(output)
  code, lines, _ = run('--repair', checkpoint=False)
  assert code == 1 and 'no finished caption set' in lines[-1]
  assert set(whole) - set(files(output)) == {THIRD, captions_lib.MANIFEST}
  assert run()[0] == 0
  assert files(output) == whole


def test_retry_failed_does_that_file_again_and_no_other(run, output):
  whole, before = files(output), times(output)
  code, (line,), _ = run('--retry_failed')
  assert code == 0 and '1 of them new; finished' in line
  assert changed(before, output) == {SECOND, captions_lib.MANIFEST}
  assert files(output) == whole  # it is broken still


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    (['--prompt=What?'], 'is another set (prompt: '),
    (['--clips=shots'], "clips='shots'"),
    (['--clip_dataset=/nowhere'], 'give either a clip set or a folder'),
    (
      ['--checkpoint=/nowhere'],
      '/nowhere: no model.gin or config.gin here or above',
    ),
    (['--num_samples=0'], 'num_samples=0: need at least 1'),
    (['--num_frames=0'], 'num_frames=0: need at least 1'),
    (['--greedy', '--top_p=0.5'], '--greedy has no --top_p'),
  ],
)
def test_a_mistake_is_one_line(run, output, more, message):
  before = files(output)
  code, _, errors = run(*more)
  assert code == 2 and files(output) == before
  assert errors[-1].startswith('error: ') and message in errors[-1]
  assert not any('Traceback' in line for line in errors)


def test_python_says_what_the_command_writes(flags, trained, call, tmp_path):
  films = flags[2].split('=')[1]
  command = [
    *('caption', f'--output={tmp_path / "set"}', f'--videos={films}'),
    *(f'--checkpoint={trained["vidlm"]}', '--greedy', '--max_length=6'),
    '--clips_per_device=1',
  ]
  assert call('vidlm', command) == 0
  table = vidlm.read_captions(tmp_path / 'set')
  expected = dict(table['caption'])
  assert expected.pop('b') == ''  # it is no video
  model = vidlm.load(str(trained['vidlm']))
  paths = [f'{films}/{name}.mp4' for name in expected]
  said = model.caption(paths, max_length=6)
  assert said == [[text] for text in expected.values()]
  assert model.caption(paths[1], max_length=6) == said[1]
  with pytest.raises(ValueError, match=r'b\.mp4: open_failed: '):
    model.caption(f'{films}/b.mp4')


def test_python_embeds(trained, flags):
  films = flags[2].split('=')[1]
  towers = dualenc.load(str(trained['dualenc']))
  paths = [f'{films}/{name}.mp4' for name in 'acd']
  clips, texts = towers.embed_video(paths), towers.embed_text(['a', 'ball'])
  assert clips.shape == (3, 16) and texts.shape == (2, 16)
  np.testing.assert_allclose(np.linalg.norm(clips, axis=1), 1, rtol=1e-5)
  np.testing.assert_array_equal(towers.embed_video(paths[1]), clips[1:2])
  np.testing.assert_array_equal(towers.embed_text('ball'), texts[1:])
