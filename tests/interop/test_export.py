"""What is written is loaded by transformers' classes and computes the same."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from vidlm.core import trees
from vidlm.interop import convert, described, export, fitting, leaves, weights
from vidlm.models import objective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import scan_layout, t5, vit

LLM = t5.T5Config(
  vocab_size=64,
  emb_dim=32,
  num_heads=4,
  head_dim=8,
  num_encoder_layers=2,
  num_decoder_layers=3,
  mlp_dim=48,
  dtype='float32',
  remat_policy='none',
)


def close(got, want, bound=2e-5):
  got, want = np.asarray(got, np.float32), np.asarray(want, np.float32)
  assert np.abs(got - want).max() <= bound * np.abs(want).max()


def random_leaves(shapes):
  import flax.linen as nn

  rng = np.random.default_rng(0)
  flat = {}
  for name, x in trees.flatten(nn.unbox(shapes)).items():
    scale = 1.0 if name.endswith('embedder/embedding') else 0.2
    value = scale * rng.normal(size=x.shape)
    flat[name] = (value + name.endswith('scale')).astype(np.float32)
  return flat


def numbered(flat):
  found = {name: leaves.from_array(x) for name, x in flat.items()}
  return weights.numbered(found)


def bit_equal(one, other):
  one, other = weights.numbered(one), weights.numbered(other)
  assert one.keys() == other.keys()
  for name, leaf in one.items():
    got, want = np.asarray(other[name]), np.asarray(leaf)
    assert got.dtype == want.dtype and got.tobytes() == want.tobytes(), name


@pytest.fixture(scope='module')
def vlm():
  model = VideoVLM(
    LLM, '16,2,32,2/8', image_size=16, dtype='float32', remat_policy='none'
  )
  task = objective.VLMObjective(model, 2, {'inputs': 5, 'targets': 6})
  return model, random_leaves(jax.eval_shape(task.init, jax.random.key(0)))


@pytest.fixture(scope='module')
def vlm_folder(vlm, tmp_path_factory):
  model, flat = vlm
  folder = tmp_path_factory.mktemp('vlm')
  extra = export.write_huggingface(
    epath.Path(folder), numbered(flat), described.of_model(model, 2)
  )
  assert extra == ['img/head/bias', 'img/head/kernel']
  return folder


def test_vlm_reads_back_bit_equal(vlm, vlm_folder):
  _, flat = vlm
  opened = weights.assemble(str(vlm_folder))
  bit_equal(numbered(flat), opened.leaves)
  fitted = fitting.fit(opened, {n: jnp.zeros(x.shape) for n, x in flat.items()})
  assert (fitted.dropped, fitted.fresh, fitted.resampled) == ([], [], [])


@pytest.mark.parametrize('tied', [False, True])
def test_language_model_is_t5(hf, vlm, vlm_folder, tied, tmp_path):
  """Logits and greedy text of T5ForConditionalGeneration."""
  import dataclasses

  import torch

  config = dataclasses.replace(LLM, logits_via_embedding=tied)
  folder = vlm_folder / 'language_model'
  flat = {
    n.removeprefix('llm/'): x
    for n, x in vlm[1].items()
    if n.startswith('llm/') and not (tied and 'logits_dense' in n)
  }
  if tied:
    folder = tmp_path / 'tied'
    export.write_huggingface(
      epath.Path(folder), numbered(flat), described.Description(llm=config)
    )
  theirs, log = hf.T5ForConditionalGeneration.from_pretrained(
    folder, output_loading_info=True
  )
  assert not log['unexpected_keys'] and not log['mismatched_keys']
  theirs.eval()
  rng = np.random.default_rng(0)
  source = rng.integers(2, 64, (3, 40))
  source[0, 30:] = 0
  target = rng.integers(2, 64, (3, 9))
  with torch.no_grad():
    want = theirs(
      input_ids=torch.tensor(source),
      attention_mask=torch.tensor(source > 0).long(),
      decoder_input_ids=torch.tensor(target),
    ).logits
  got = jax.jit(t5.T5(config).apply)(
    {'params': trees.unflatten(flat)}, jnp.asarray(source), jnp.asarray(target)
  )
  close(got, want)


def test_vision_tower_is_siglip(hf, vlm, vlm_folder, images):
  import torch

  theirs, log = hf.SiglipVisionModel.from_pretrained(
    vlm_folder / 'vision_tower', output_loading_info=True
  )
  assert not any(
    log[k] for k in ('missing_keys', 'unexpected_keys', 'mismatched_keys')
  )
  images = images[:, :16, :16]
  with torch.no_grad():
    want = theirs.eval()(torch.tensor(images.transpose(0, 3, 1, 2)))
  flat = {
    n.removeprefix('img/'): x
    for n, x in vlm[1].items()
    if n.startswith('img/') and 'head' not in n
  }
  tower = vit.ViT('16,2,32,2/8', 16, dtype='float32', remat_policy='none')
  got, _ = tower.apply({'params': trees.unflatten(flat)}, jnp.asarray(images))
  close(got, want.last_hidden_state)


def converted(source, target, **options):
  text = convert.convert(str(source), str(target), **options)
  assert 'parameters as' in text
  return weights.open_weights(str(target))


@pytest.mark.parametrize('kind', ['t5', 'siglip', 'clip'])
def test_every_format_reads_back_bit_equal(
  kind, t5_folder, siglip_folder, clip_folder, tmp_path
):
  """Theirs -> each of ours -> theirs: not a bit is lost."""
  source = {'t5': t5_folder, 'siglip': siglip_folder, 'clip': clip_folder}[kind]
  first = weights.open_weights(str(source)).leaves
  for format, name in (
    ('huggingface', 'hf'),
    ('big_vision', 'x.npz'),
    ('t5x', 't5x'),
    ('checkpoint', 'run'),
  ):
    found = converted(source, tmp_path / name, format=format).leaves
    if format == 'checkpoint' and kind == 'clip':
      assert not np.any(np.asarray(found.pop('img/temporal_embedding')))
    bit_equal(first, found)
    back = tmp_path / f'{name}_back'
    bit_equal(first, converted(tmp_path / name, back).leaves)
    theirs = (source / 'model.safetensors').stat().st_size
    assert abs((back / 'model.safetensors').stat().st_size - theirs) < 20_000


def test_shards(t5_folder, tmp_path):
  first = weights.open_weights(str(t5_folder)).leaves
  found = converted(t5_folder, tmp_path / 'cut', shard_bytes=30_000).leaves
  files = sorted(p.name for p in (tmp_path / 'cut').glob('*.safetensors'))
  assert len(files) > 2 and files[0].startswith('model-00001-of-')
  bit_equal(first, found)
  (tmp_path / 'cut' / files[1]).unlink()
  with pytest.raises(FileNotFoundError, match='shards are missing: model'):
    weights.open_weights(str(tmp_path / 'cut'))


def test_transformers_reads_shards(hf, hf_t5, t5_folder, tmp_path):
  convert.convert(str(t5_folder), str(tmp_path / 'cut'), shard_bytes=30_000)
  theirs = hf.T5ForConditionalGeneration.from_pretrained(tmp_path / 'cut')
  want = hf_t5.state_dict()
  for name, value in theirs.state_dict().items():
    np.testing.assert_array_equal(value.numpy(), want[name].numpy(), name)


def test_card_and_target(t5_folder, tmp_path):
  convert.convert(str(t5_folder), str(tmp_path / 'a'), license='apache-2.0')
  card = (tmp_path / 'a/README.md').read_text()
  assert 'license: apache-2.0' in card and f'`{t5_folder}`' in card
  with pytest.raises(FileExistsError, match='is there already'):
    convert.convert(str(t5_folder), str(tmp_path / 'a'))
  # A single file has its card beside it.
  target = str(tmp_path / 'b.npz')
  convert.convert(str(t5_folder), target, license='apache-2.0')
  beside = tmp_path / 'b.npz.md'
  assert beside.read_text() == card.replace('# a\n', '# b.npz\n')
  (tmp_path / 'b.npz').unlink()
  with pytest.raises(FileExistsError, match='its card'):
    convert.convert(str(t5_folder), target)
  assert not [p for p in pathlib.Path(tmp_path).iterdir() if p.name[0] == '.']


def test_scan_layout_is_the_models(vlm):
  """Leaves of a scanned run, written unscanned, fit it again."""
  _, flat = vlm
  found = numbered(flat)
  again = leaves.like_layers(found, flat)
  assert again.keys() == flat.keys()
  name = 'llm/decoder/layers/mlp/wo/kernel'
  assert scan_layout.is_stacked(name)
  np.testing.assert_array_equal(again[name], flat[name])
