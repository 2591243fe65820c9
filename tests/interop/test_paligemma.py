"""Names and shapes of PaliGemma, both ways, without a forward pass."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import transformers
from safetensors.numpy import load_file, save_file

from vidlm.core import trees
from vidlm.interop import (
  big_vision,
  fitting,
  leaves,
  paligemma_config,
  paligemma_names,
)
from vidlm.interop.weights import Weights
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import scan_layout
from vidlm.nn.gemma import GemmaConfig

pytestmark = pytest.mark.usefixtures('torchvision_operators')

TEXT = {
  'vocab_size': 64,
  'hidden_size': 32,
  'intermediate_size': 48,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'num_key_value_heads': 1,
  'head_dim': 8,
}
VISION = {
  'model_type': 'siglip_vision_model',
  'hidden_size': 24,
  'intermediate_size': 40,
  'num_hidden_layers': 1,
  'num_attention_heads': 3,
  'image_size': 16,
  'patch_size': 8,
  'vision_use_head': False,
}


def shapes_of(config) -> dict[str, tuple[int, ...]]:
  """Names and shapes our model wants, layers numbered."""
  model = VideoVLM(**paligemma_config.model_fields(config))
  task = VLMObjective(model, 2, {'inputs': 4, 'targets': 4})
  boxed = jax.eval_shape(task.init, jax.random.key(0))
  flat = trees.flatten(jax.tree.map(lambda x: x, boxed))
  flat = {n: getattr(x, 'value', x) for n, x in flat.items()}
  hollow = {n: np.broadcast_to(np.float32(0), x.shape) for n, x in flat.items()}
  return {n: x.shape for n, x in scan_layout.unstack(hollow).items()}


@pytest.fixture(scope='module', params=['gemma', 'gemma2'])
def checkpoint(request, tmp_path_factory):
  """What `save_pretrained` writes: config.json and weights."""
  config = transformers.PaliGemmaConfig(
    vision_config=VISION,
    text_config={'model_type': request.param, **TEXT},
    projection_dim=32,
    image_token_index=63,
  )
  model = transformers.PaliGemmaForConditionalGeneration(config)
  folder = tmp_path_factory.mktemp(request.param)
  model.save_pretrained(folder)
  config = json.loads((folder / 'config.json').read_text())
  state = {k: v.detach().numpy() for k, v in model.state_dict().items()}
  return config, load_file(folder / 'model.safetensors'), state


def to_ours(theirs, config) -> dict[str, np.ndarray]:
  held = {name: leaves.from_array(x) for name, x in theirs.items()}
  table = paligemma_names.read_table(config, held)
  ours, left = table.to_ours(held, 'here')
  assert left == []
  return {name: np.asarray(x) for name, x in ours.items()}


def to_theirs(ours, config) -> dict[str, np.ndarray]:
  fields = paligemma_config.model_fields(config)
  table = paligemma_names.table(
    fields['llm_config'], fields['variant'], fields['image_size']
  )
  held = {name: leaves.from_array(x) for name, x in ours.items()}
  theirs = table.to_theirs(held)
  # safetensors writes what lies in memory, whatever the strides.
  return {n: np.ascontiguousarray(x) for n, x in theirs.items()}


def same(a, b) -> bool:
  return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_every_tensor_has_a_place_of_its_shape(checkpoint) -> None:
  config, file, state = checkpoint
  ours = to_ours(file, config)
  assert {n: x.shape for n, x in ours.items()} == shapes_of(config)
  assert sum(x.size for x in ours.values()) == sum(
    x.size for x in file.values()
  )
  # A module's names, with the tied output layer, give the same.
  assert same(to_ours(state, config), ours)


def test_what_is_written_is_what_was_read(checkpoint, tmp_path) -> None:
  """Down to the bit, and transformers finds every tensor of it."""
  config, file, state = checkpoint
  ours = to_ours(file, config)
  written = to_theirs(ours, config)
  assert same(to_ours(written, config), ours)
  save_file(written, tmp_path / 'model.safetensors', {'format': 'pt'})
  fields = paligemma_config.model_fields(config)
  new = paligemma_config.to_config(
    fields['llm_config'], fields['variant'], fields['image_size']
  )
  (tmp_path / 'config.json').write_text(json.dumps(new))
  model, report = (
    transformers.PaliGemmaForConditionalGeneration.from_pretrained(
      tmp_path, output_loading_info=True
    )
  )
  assert not any(report.values()), report
  got = {k: v.detach().numpy() for k, v in model.state_dict().items()}
  assert same(got, state)


def test_prefixes_of_older_checkpoints(checkpoint) -> None:
  config, file, _ = checkpoint
  older = {
    name.replace('vision_tower.', 'vision_tower.vision_model.'): x
    for name, x in file.items()
  }
  assert older.keys() != file.keys()
  assert same(to_ours(older, config), to_ours(file, config))


def test_configs_both_ways(checkpoint) -> None:
  config, _, _ = checkpoint
  fields = paligemma_config.model_fields(config)
  written = paligemma_config.to_config(
    fields['llm_config'], fields['variant'], fields['image_size']
  )
  assert (
    paligemma_config.model_fields(json.loads(json.dumps(written))) == fields
  )
  theirs = transformers.PaliGemmaConfig(**written)
  assert theirs.text_config.model_type == config['text_config']['model_type']
  for name in TEXT:
    assert getattr(theirs.text_config, name) == config['text_config'][name]


def test_sparse_config_of_the_hub() -> None:
  """paligemma-3b-pt-224 names little: the rest are defaults."""
  config = {
    'model_type': 'paligemma',
    'projection_dim': 2048,
    'text_config': {
      'hidden_size': 2048,
      'intermediate_size': 16384,
      'model_type': 'gemma',
      'num_attention_heads': 8,
      'num_hidden_layers': 18,
      'num_image_tokens': 256,
      'num_key_value_heads': 1,
      'vocab_size': 257216,
    },
    'vision_config': {
      'hidden_size': 1152,
      'intermediate_size': 4304,
      'model_type': 'siglip_vision_model',
      'num_attention_heads': 16,
      'num_hidden_layers': 27,
      'patch_size': 14,
      'projection_dim': 2048,
      'vision_use_head': False,
    },
  }
  fields = paligemma_config.model_fields(config)
  assert fields['llm_config'] == GemmaConfig(vocab_size=257_216)
  assert fields['variant'] == '1152,27,4304,16/14'
  assert fields['image_size'] == 224


def test_big_vision_both_ways(checkpoint, tmp_path) -> None:
  config, file, _ = checkpoint
  ours = to_ours(file, config)
  held = {name: leaves.from_array(x) for name, x in ours.items()}
  big_vision.write(tmp_path / 'x.npz', held)
  found = big_vision.read(tmp_path / 'x.npz')
  # As in big_vision's pt_224.npz.
  assert found['llm/layers/attn/q_einsum/w'].shape == (2, 4, 32, 8)
  assert found['llm/layers/attn/kv_einsum/w'].shape == (2, 2, 1, 32, 8)
  assert found['llm/layers/mlp/gating_einsum'].shape == (2, 2, 32, 48)
  assert found['img/head/kernel'].shape == (24, 32)
  assert same(
    {n: np.asarray(x) for n, x in found.items()}, scan_layout.stack(ours)
  )
  # Not scanned, layers are called otherwise there.
  named = {n.replace('llm/layers_', 'llm/layers/'): x for n, x in held.items()}
  found = big_vision.modern(named)
  assert same({n: np.asarray(x) for n, x in found.items()}, ours)


def test_spare_rows_of_the_token_table(checkpoint) -> None:
  """big_vision's table fits the hub's model; no spare row is ever sampled."""
  config, file, _ = checkpoint
  ours = to_ours(file, config)
  held = {name: leaves.from_array(x) for name, x in ours.items()}
  name = 'llm/embedder/input_embedding'
  wanted = {**ours, name: np.zeros((128, 32))}
  fitted = fitting.fit(Weights('x', held), wanted, 65)
  assert fitted.resampled == [f'{name} [64, 32] -> [128, 32]']
  table = np.asarray(fitted.leaves[name])
  np.testing.assert_array_equal(table[:64], ours[name])
  x = np.random.default_rng(0).normal(size=(9, 32)).astype(np.float32)
  logits = x @ table.T
  assert (logits.argmax(1) < 64).all() and table[64:].any()
  wanted[name] = np.zeros((129, 32))
  with pytest.raises(ValueError, match=r'\[64, 32\].*set its vocab_size to 64'):
    fitting.fit(Weights('x', held), wanted)


def test_mistakes_are_named(checkpoint) -> None:
  config, file, _ = checkpoint
  lacking = dict(file)
  lacking.pop('multi_modal_projector.linear.bias')
  with pytest.raises(ValueError, match='missing: multi_modal_projector'):
    to_ours(lacking, config)
  with pytest.raises(ValueError, match='architecture: text_tower'):
    to_ours({**file, 'text_tower.weight': np.ones(2)}, config)
  ours = to_ours(file, config)
  ours.pop('llm/final_norm/scale')
  with pytest.raises(ValueError, match='llm/final_norm/scale'):
    to_theirs(ours, config)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ({'model_type': 'llama'}, 'llama'),
    ({'model_type': 'gemma', 'hidden_act': 'silu'}, 'silu'),
    ({'model_type': 'gemma', 'attention_bias': True}, 'attention_bias'),
    (
      {
        'model_type': 'gemma2',
        'num_hidden_layers': 2,
        'layer_types': ['full_attention'] * 2,
      },
      'layer_types',
    ),
  ],
)
def test_other_models_are_refused(text, message) -> None:
  with pytest.raises(ValueError, match=message):
    paligemma_config.gemma_config(text)


def test_a_null_cap_is_none() -> None:
  config = paligemma_config.gemma_config(
    {'model_type': 'gemma2', 'attn_logit_softcapping': None}
  )
  assert config.attn_logit_cap == 0.0 and config.final_logit_cap == 30.0
  assert dataclasses.replace(config, attn_logit_cap=50.0) == (
    paligemma_config.gemma_config({'model_type': 'gemma2'})
  )
