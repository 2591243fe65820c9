"""PaliGemma and Gemma through the path that reads every other model."""

import dataclasses
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers

from vidlm import cli, train
from vidlm.core import launch, runs, trees
from vidlm.interop import convert, fitting, paligemma_config, registry, weights
from vidlm.models import objective, restored
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import gemma
from vidlm.training import checkpoints, step
from vidlm.training import train_state as train_state_lib

VOCAB, IMAGE, LENGTH = 96, 95, 6
KINDS = ['gemma', 'gemma2']
TEXT = {
  'vocab_size': VOCAB,
  'hidden_size': 32,
  'intermediate_size': 48,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'head_dim': 8,
}
# A window shorter than the texts; a scale that is not 1 / sqrt(head_dim).
TEXT2 = TEXT | {
  'sliding_window': 7,
  'query_pre_attn_scalar': 11,
  'attn_logit_softcapping': 3.0,
  'final_logit_softcapping': 4.0,
}
VISION = {
  'model_type': 'siglip_vision_model',
  'hidden_size': 24,
  'intermediate_size': 40,
  'num_hidden_layers': 2,
  'num_attention_heads': 3,
  'image_size': 16,
  'patch_size': 8,
  'vision_use_head': False,
}
FLOAT32 = {'dtype': 'float32', 'remat_policy': 'none'}


def randomise(model) -> None:
  """Makes every parameter count, norms too."""
  import torch

  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for p in model.parameters():
      p.copy_(0.3 * torch.randn(p.shape, generator=generator))


def make_paligemma(hf, kind):
  config = hf.PaliGemmaConfig(
    vision_config=VISION,
    text_config={
      'model_type': kind,
      **(TEXT2 if kind == 'gemma2' else TEXT),
    },
    projection_dim=32,
    image_token_index=IMAGE,
    attn_implementation='eager',
  )
  model = hf.PaliGemmaForConditionalGeneration(config).eval()
  randomise(model)
  return model


@pytest.fixture(scope='module', params=KINDS)
def paligemma(hf, request, tmp_path_factory):
  """A random model, its folder, and the same in shards with a tokenizer."""
  model = make_paligemma(hf, request.param)
  folder = tmp_path_factory.mktemp(request.param)
  model.save_pretrained(folder / 'one')
  model.save_pretrained(folder / 'sharded', max_shard_size='20KB')
  assert len(list((folder / 'sharded').glob('*.safetensors'))) > 2
  write_tokenizer(folder / 'sharded/tokenizer.json')
  return model, folder


def write_tokenizer(path: pathlib.Path) -> None:
  words = ['<pad>', '<eos>', '<bos>', '<unk>', '\n', 'a', 'b']
  tokenizer = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(
      {word: i for i, word in enumerate(words)}, '<unk>'
    )
  )
  tokenizer.add_special_tokens(['<bos>'])
  tokenizer.save(str(path))


def task_of(folder: pathlib.Path, **options) -> objective.VLMObjective:
  config = json.loads((folder / 'config.json').read_text())
  fields = paligemma_config.model_fields(config, **FLOAT32)
  model = VideoVLM(**{**fields, **FLOAT32, **options})
  return objective.VLMObjective(model, 1, {'inputs': 5, 'targets': LENGTH})


def load(folder, **options):
  task = task_of(folder, **options)
  params = fitting.load_params(
    str(folder), lambda: step.parameter_shapes(task), VOCAB
  )
  return task.model, jax.tree.map(jnp.asarray, params)


def clips():
  rng = np.random.default_rng(1)
  frames = rng.integers(0, 256, (3, 1, 16, 16, 3), np.uint8)
  prompts = rng.integers(4, IMAGE, (3, 5))
  return frames, prompts, rng.integers(4, IMAGE, (3, LENGTH))


def their_logits(model) -> np.ndarray:
  import torch

  frames, prompts, targets = clips()
  prefix = np.concatenate([np.full((3, 4), IMAGE), prompts], axis=1)
  ids = np.concatenate([prefix, targets[:, :-1]], axis=1)
  kinds = np.zeros_like(ids)
  kinds[:, prefix.shape[1] :] = 1
  pixels = frames[:, 0].transpose(0, 3, 1, 2) / np.float32(127.5) - 1.0
  with torch.no_grad():
    logits = model(
      input_ids=torch.tensor(ids),
      attention_mask=torch.ones(ids.shape, dtype=torch.long),
      token_type_ids=torch.tensor(kinds),
      pixel_values=torch.tensor(pixels),
    ).logits
  return logits[:, -LENGTH:].numpy()


def our_logits(model, params) -> np.ndarray:
  frames, prompts, targets = clips()
  batch = {
    'frames': jnp.asarray(frames),
    'frame_mask': jnp.ones((3, 1), bool),
    'encoder_input_tokens': jnp.asarray(prompts),
    'decoder_input_tokens': jnp.asarray(
      np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    ),
  }
  return np.asarray(jax.jit(model.apply)({'params': params}, batch))


def assert_equal_logits(got, want) -> None:
  assert np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


@pytest.mark.parametrize('layout', ['one', 'sharded'])
def test_logits_from_a_path(paligemma, layout) -> None:
  theirs, folder = paligemma
  model, params = load(folder / layout)
  assert_equal_logits(our_logits(model, params), their_logits(theirs))


def bit_equal(one: str, other: str) -> None:
  a, b = (weights.numbered(weights.assemble(x).leaves) for x in (one, other))
  assert a.keys() == b.keys()
  for name in a:
    got, want = np.asarray(a[name]), np.asarray(b[name])
    assert got.dtype == want.dtype and got.tobytes() == want.tobytes(), name


@pytest.mark.parametrize(
  ('text', 'vision', 'projector'),
  [
    # As on the hub; as modules of transformers 4.52 are called; of 5.
    (
      'language_model.model.',
      'vision_tower.vision_model.',
      'multi_modal_projector.',
    ),
    (
      'model.language_model.',
      'model.vision_tower.vision_model.',
      'model.multi_modal_projector.',
    ),
    (
      'model.language_model.',
      'model.vision_tower.',
      'model.multi_modal_projector.',
    ),
  ],
)
def test_prefixes_and_tied_copies(
  paligemma, tmp_path, text, vision, projector
) -> None:
  """The output layer beside the table it is tied to changes nothing."""
  from safetensors.numpy import load_file, save_file

  _, folder = paligemma
  tensors = load_file(folder / 'one/model.safetensors')
  renamed = {}
  for name, x in tensors.items():
    for old, new in (
      ('language_model.model.', text),
      ('vision_tower.', vision),
      ('multi_modal_projector.', projector),
    ):
      if name.startswith(old):
        name = new + name.removeprefix(old).removeprefix('vision_model.')
        break
    renamed[name] = x
  assert len(renamed) == len(tensors)
  renamed['lm_head.weight'] = renamed[f'{text}embed_tokens.weight']
  save_file(renamed, tmp_path / 'model.safetensors')
  shutil.copy(folder / 'one/config.json', tmp_path)
  assert weights.open_weights(str(tmp_path)).left == []
  bit_equal(str(folder / 'one'), str(tmp_path))


def reload(hf, folder):
  model, report = hf.PaliGemmaForConditionalGeneration.from_pretrained(
    folder, output_loading_info=True, attn_implementation='eager'
  )
  assert not any(report.values()), report
  return model.eval()


def write_run(folder: pathlib.Path, source: pathlib.Path) -> dict:
  """A run of the tiny recipe with the source's sizes; {name: array}."""
  config = json.loads((source / 'config.json').read_text())
  fields = paligemma_config.model_fields(config)
  llm, names = fields['llm_config'], gemma.GemmaConfig.__dataclass_fields__
  with launch.isolated_gin():
    launch.parse_gin(
      ['configs/vidlm/recipes/paligemma2_tiny.gin'],
      [
        f'MODEL_DIR="{folder}"',
        f'VOCABULARY_PATH="{source}/tokenizer.json"',
        f'VOCABULARY_SIZE={VOCAB}',
        f'video_vlm.VideoVLM.variant="{fields["variant"]}"',
        *(
          f'gemma.GemmaConfig.{name}={getattr(llm, name)!r}'
          for name in names
          if name not in ('vocab_size', 'dtype', 'remat_policy')
        ),
      ],
    )
    runs.write_run(str(folder))
    task = launch.macro('MODEL')
    initial = trees.flatten(train.initial_params(task, str(source)))
  flat = {name: np.asarray(x) for name, x in initial.items()}
  assert flat.keys() == step.parameter_shapes(task).keys()
  saver = checkpoints.Checkpoints(str(folder))
  state = train_state_lib.TrainState(np.asarray(3, np.int32), flat, {}, ())
  saver.save(3, state)
  saver.close()
  return flat


def test_a_run_from_it_and_back(hf, paligemma, tmp_path) -> None:
  """INITIAL_CHECKPOINT_PATH, then `convert RUN DIR --format=huggingface`."""
  theirs, folder = paligemma
  write_run(tmp_path / 'run', folder / 'sharded')
  for shard_bytes in (10**9, 20_000):
    target = tmp_path / f'back{shard_bytes}'
    convert.convert(
      str(tmp_path / 'run'),
      str(target),
      format='huggingface',
      shard_bytes=shard_bytes,
    )
    back = reload(hf, target)
    assert not (target / 'vidlm.safetensors').exists()
    want = theirs.state_dict()
    for name, value in back.state_dict().items():
      np.testing.assert_array_equal(value.numpy(), want[name].numpy(), name)
    # transformers counts on its own id for an image.
    back.config.image_token_id = back.model.config.image_token_id = IMAGE
    np.testing.assert_array_equal(their_logits(back), their_logits(theirs))
    bit_equal(str(folder / 'one'), str(target))
  # With the run's model.gin and tokenizer beside it, it is a checkpoint.
  vlm = restored.load_vlm(str(target))
  assert vlm.vocabulary.path == f'{target}/vocabulary.json'


@pytest.mark.parametrize('step_name', ['hf', 'x.npz', 'run'])
def test_convert_through_every_format(hf, paligemma, tmp_path, step_name):
  _, folder = paligemma
  source, target = str(folder / 'sharded'), str(tmp_path / step_name)
  format = {'run': 'checkpoint'}.get(step_name)
  convert.convert(source, target, format=format)
  bit_equal(source, target)
  if step_name != 'x.npz':
    names = {path.name for path in pathlib.Path(target).iterdir()}
    assert ('model.gin' in names) == (step_name == 'run')
    assert 'config.gin' not in names
    vlm, own = restored.load_vlm(target), restored.load_vlm(source)
    assert vlm.objective.model == own.objective.model
    assert vlm.vocabulary.path.startswith(target)
    assert own.vocabulary.path == f'{source}/tokenizer.json'
    assert own.vocabulary.prompt('a b')[0] == 2
    assert (own.num_frames, own.image_size) == (8, 16)
    got, want = (trees.flatten(v.params) for v in (vlm, own))
    assert got.keys() == want.keys()
  back = str(tmp_path / 'back')
  convert.convert(target, back)
  bit_equal(source, back)
  if step_name != 'x.npz':  # caps and window are in no array
    config = json.loads((tmp_path / 'back/config.json').read_text())
    first = json.loads((folder / 'one/config.json').read_text())
    assert registry.PALIGEMMA.describe(config) == (
      registry.PALIGEMMA.describe(first)
    )
  reload(hf, back)


def test_weights_alone_want_a_config_beside_them(paligemma, tmp_path):
  _, folder = paligemma
  source, target = str(folder / 'sharded'), str(tmp_path / 'run/x.npz')
  convert.convert(source, str(tmp_path / 'run'), format='checkpoint')
  convert.convert(source, target)
  vlm, own = restored.load_vlm(target), restored.load_vlm(source)
  assert vlm.objective.model == own.objective.model
  got, want = (trees.flatten(v.params) for v in (vlm, own))
  assert got.keys() == want.keys()
  for name, value in want.items():
    np.testing.assert_array_equal(got[name], value)
  (tmp_path / 'run/model.gin').unlink()
  with pytest.raises(FileNotFoundError, match='weights without a run: '):
    restored.load_vlm(target)
  (tmp_path / 'run/x.bin').write_bytes(b'\x80\x02}')
  with pytest.raises(ValueError, match='is a pickle'):
    restored.load_vlm(str(tmp_path / 'run/x.bin'))


def test_logits_in_bfloat16(paligemma) -> None:
  """Weights and activations of 8 bits: within 5 % of the largest logit."""
  model, folder = paligemma
  want = their_logits(model)
  low, params = load(folder / 'one')
  low = dataclasses.replace(
    low,
    dtype='bfloat16',
    llm_config=dataclasses.replace(low.llm_config, dtype='bfloat16'),
  )
  params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  got = our_logits(low, params)
  assert np.abs(got - want).max() <= 5e-2 * np.abs(want).max()


def test_positions_are_resampled_and_parts_taken(paligemma) -> None:
  _, folder = paligemma
  source = str(folder / 'one')
  task = task_of(folder / 'one', image_size=24)
  wanted = step.parameter_shapes(task)
  fitted = fitting.fit(weights.assemble(source), wanted, VOCAB)
  assert (fitted.dropped, fitted.fresh) == ([], [])
  assert fitted.resampled == ['img/pos_embedding [1, 4, 24] -> [1, 9, 24]']
  fitted = fitting.fit(weights.assemble({'img': source}), wanted, VOCAB)
  assert {n.split('/')[0] for n in fitted.fresh} == {'llm'}
  assert {n.split(': ')[1].split('/')[0] for n in fitted.dropped} == {'llm'}
  with pytest.raises(ValueError, match='has 96 rows, the tokenizer 97 ids'):
    fitting.fit(weights.assemble(source), wanted, VOCAB + 1)


@pytest.mark.parametrize(
  ('name', 'options'), [('Gemma', TEXT), ('Gemma2', TEXT2)]
)
def test_a_gemma_alone_is_a_language_model(hf, tmp_path, name, options):
  import torch

  config = getattr(hf, f'{name}Config')(**options, attn_implementation='eager')
  theirs = getattr(hf, f'{name}ForCausalLM')(config).eval()
  randomise(theirs)
  theirs.save_pretrained(tmp_path / 'theirs')
  source = str(tmp_path / 'theirs')
  opened = weights.open_weights(source)
  assert (opened.place, opened.left) == ('llm', [])
  described = registry.GEMMA.describe(
    json.loads((tmp_path / 'theirs/config.json').read_text())
  )
  llm = paligemma_config.gemma_config(config.to_dict(), **FLOAT32)
  model = gemma.Gemma(llm)
  tokens = np.random.default_rng(0).integers(4, VOCAB, (3, 24))
  ids = jnp.asarray(tokens)
  wanted = jax.eval_shape(model.init, jax.random.key(0), ids[:, :1], ids)
  flat = trees.flatten(wanted['params'])
  shapes = {n: getattr(x, 'value', x) for n, x in flat.items()}
  params = fitting.fit_all(opened, shapes, VOCAB)
  got = model.apply({'params': params}, ids[:, :1], ids)
  with torch.no_grad():
    want = theirs(torch.tensor(tokens)).logits.numpy()
  assert_equal_logits(np.asarray(got), want)
  # In a VLM, and back to transformers' class.
  placed = weights.assemble({'llm': source}).leaves
  assert 'llm/embedder/input_embedding' in placed
  convert.convert(source, str(tmp_path / 'back'))
  back, report = getattr(hf, f'{name}ForCausalLM').from_pretrained(
    tmp_path / 'back', output_loading_info=True, attn_implementation='eager'
  )
  assert not any(report.values()), report
  with torch.no_grad():
    again = back.eval()(torch.tensor(tokens)).logits.numpy()
  np.testing.assert_array_equal(again, want)
  found = json.loads((tmp_path / 'back/config.json').read_text())
  assert registry.GEMMA.describe(found) == described


@pytest.mark.parametrize(
  ('change', 'match'),
  [
    (
      {'text_config': {'head_dim': 16}},
      r'q_proj.weight has shape \[32, 32\], config.json means .* d=16',
    ),
    ({'vision_config': {'image_size': 32}}, r'position_embedding.*n=16'),
    ({'text_config': {'num_hidden_layers': 4}}, 'tensors are missing'),
    ({'text_config': {'num_hidden_layers': 2}}, 'have no place'),
    ({'text_config': {'model_type': 'llama'}}, "model_type 'llama'"),
    ({'vision_config': {'hidden_act': 'relu'}}, "hidden_act 'relu'"),
  ],
)
def test_bad_input_is_one_line(hf, tmp_path, capsys, change, match) -> None:
  make_paligemma(hf, 'gemma').save_pretrained(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  for part, values in change.items():
    config[part] |= values
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match=match) as info:
    weights.open_weights(str(tmp_path))
  assert '\n' not in str(info.value)
  with pytest.raises(SystemExit):
    cli.main(['convert', str(tmp_path), str(tmp_path / 'out')])
  last = capsys.readouterr().err.strip().splitlines()[-1]
  assert last.startswith('error: ') and not (tmp_path / 'out').exists()
