"""Every command with a Gemma: plan, train, caption, eval on a tiny clip set."""

import io
import json
import pathlib

import numpy as np
import PIL.Image
import pytest
import tokenizers

from vidlm import cli
from vidlm.core import command_line, launch, trees
from vidlm.data.store import caption_sets as captions_lib
from vidlm.data.store import clip_schema, clip_writer
from vidlm.models import restored
from vidlm.training import checkpoints

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECIPE = 'configs/vidlm/recipes/paligemma2_tiny.gin'
WORDS = ['a red bar moves left', 'a blue ring grows', 'the square falls down']


def jpeg(value: int) -> bytes:
  buffer = io.BytesIO()
  image = np.full((16, 16, 3), value, np.uint8)
  PIL.Image.fromarray(image).save(buffer, 'JPEG')
  return buffer.getvalue()


def row(i: int) -> clip_schema.ClipRow:
  return clip_schema.ClipRow(
    f'clip{i}',
    'drawn',
    0.0,
    1.0,
    (jpeg(20 * i), jpeg(20 * i + 9)),
    (0.0, 0.5),
    texts=(WORDS[i % 3],),
    questions=('what moves',),
    answers=(WORDS[i % 3].split()[1],),
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> pathlib.Path:
  """A clip set of ten, split 'train', and a tokenizer.json of its words."""
  folder = tmp_path_factory.mktemp('paligemma')
  clip_writer.write_clips([row(i) for i in range(10)], str(folder / 'smit'))
  tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token='<unk>'))
  tokenizer.normalizer = tokenizers.normalizers.Replace(' ', '▁')
  tokenizer.decoder = tokenizers.decoders.Replace('▁', ' ')
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=200,
    special_tokens=['<pad>', '<eos>', '<bos>', '<unk>', '\n'],
    show_progress=False,
  )
  prompts = ['Generate the alt-text:', 'Answer in en: what moves']
  tokenizer.train_from_iterator(WORDS + prompts, trainer)
  tokenizer.save(str(folder / 'tokenizer.json'))
  return folder


@pytest.fixture(scope='module')
def bindings(folder) -> list[str]:
  return [
    f'--gin_file={RECIPE}',
    f'--gin.DATA_DIR="{folder}"',
    f'--gin.VOCABULARY_PATH="{folder}/tokenizer.json"',
  ]


def vidlm(*flags: str) -> int:
  """Runs a command line in this process, as if it were the first."""
  with launch.isolated_gin(), pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    return command_line.run('vidlm', '', cli.COMMANDS, flags)


@pytest.fixture(scope='module')
def run(folder, bindings) -> str:
  """Visual adaptation, then language adaptation from it."""
  visual, language = str(folder / 'visual'), str(folder / 'language')
  train = ['train', *bindings]
  assert vidlm(*train, f'--gin.MODEL_DIR="{visual}"') == 0
  assert (
    vidlm(
      *train,
      '--gin_file=configs/vidlm/stages/language.gin',
      f'--gin.INITIAL_CHECKPOINT_PATH="{visual}"',
      f'--gin.MODEL_DIR="{language}"',
    )
    == 0
  )
  return language


def weights(path: str) -> dict[str, np.ndarray]:
  flat = trees.flatten(checkpoints.load_params(path))
  return {name: np.asarray(x) for name, x in flat.items()}


def moved(a: dict, b: dict) -> set[str]:
  assert a.keys() == b.keys()
  return {n for n in a if not np.array_equal(a[n], b[n])}


def test_plan(folder, bindings) -> None:
  out = folder / 'plan.json'
  flags = ['plan', *bindings, '--gin.MODEL_DIR="x"', f'--json={out}']
  assert vidlm(*flags) == 0
  report = json.loads(out.read_text())
  assert report['parameters']['trainable'] == report['parameters']['img']


def test_exactly_what_each_stage_names_moved(folder, run) -> None:
  visual = weights(str(folder / 'visual'))
  after = weights(run)
  changed = moved(visual, after)
  assert changed == {n for n in after if n.startswith('llm/')}
  # The first stage froze those: they still are what initialisation gave.
  assert not visual['llm/final_norm/scale'].any()
  assert visual['img/head/bias'].any()


def test_a_run_carries_its_tokenizer(folder, run, tmp_path) -> None:
  vlm = restored.load_vlm(run)
  assert vlm.vocabulary.path == f'{run}/vocabulary.json'
  assert vlm.vocabulary.prompt_format == 'paligemma'
  assert vlm.vocabulary.prompt('a')[0] == 2


def caption(folder, run, *flags: str) -> tuple[str, list[dict]]:
  output = f'{folder}/captions{"".join(flags)}'
  done = vidlm(
    'caption',
    f'--checkpoint={run}',
    f'--clip_dataset={folder}/smit',
    f'--output={output}',
    '--clips_per_device=2',
    '--max_length=5',
    *flags,
  )
  assert done == 0
  return output, captions_lib.read_captions(output).to_pylist()


@pytest.fixture(scope='module')
def greedy(folder, run) -> dict[str, str]:
  """{clip: caption}."""
  _, rows = caption(folder, run, '--greedy')
  assert {len(row['captions']) for row in rows} == {1}
  return {row['clip_id']: row['captions'][0] for row in rows}


def test_caption(folder, run, greedy) -> None:
  output, rows = caption(folder, run, '--num_samples=3')
  assert [r['clip_id'] for r in rows] == list(greedy)
  assert list(greedy) == [f'clip{i}' for i in range(10)]
  assert all(r['status'] == 'ok' for r in rows)
  assert {len(r['captions']) for r in rows} == {3}
  assert vidlm('caption', '--verify', f'--output={output}') == 0


@pytest.mark.parametrize('kind', ['caption', 'question'])
def test_eval(folder, run, greedy, kind) -> None:
  out = folder / f'{kind}.json'
  done = vidlm(
    'eval',
    f'--checkpoint={run}',
    f'--clip_dataset={folder}/smit',
    '--split=train',
    f'--kind={kind}',
    '--batch_size=5',
    '--max_length=5',
    f'--output={out}',
  )
  assert done == 0
  predictions = json.loads(out.read_text())['predictions']
  assert len(predictions) == 10
  if kind == 'caption':  # The captioner's greedy text is the evaluation's.
    assert predictions == greedy
