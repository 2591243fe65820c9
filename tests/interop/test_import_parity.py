"""What transformers saves, read here, computes the same."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidlm.interop import (
  convert,
  leaves,
  safetensors_format,
  siglip_names,
  t5_names,
  weights,
)
from vidlm.nn import t5, vit

OPTIONS = {'dtype': 'float32', 'remat_policy': 'none'}


def close(got, want, bound=2e-5):
  got, want = np.asarray(got, np.float32), np.asarray(want, np.float32)
  assert np.abs(got - want).max() <= bound * np.abs(want).max()


def t5_logits(model, tokens):
  import torch

  with torch.no_grad():
    return model(
      input_ids=torch.tensor(tokens['source']),
      attention_mask=torch.tensor(tokens['source'] > 0).long(),
      decoder_input_ids=torch.tensor(tokens['shifted']),
    )


def our_t5(folder, config, nested, **options):
  config = t5_names.model_config(config, **{**OPTIONS, **options})
  return t5.T5(config), {'params': nested(weights.open_weights(str(folder)))}


def test_t5(hf_t5, t5_folder, config_of, nested, tokens):
  model, params = our_t5(t5_folder, config_of(t5_folder), nested)
  want = t5_logits(hf_t5, tokens)
  source = jnp.asarray(tokens['source'])

  @jax.jit
  def run(params):
    embedded = model.apply(params, source, method='embed')
    encoded = model.apply(params, embedded, source > 0, method='encode')
    shifted = jnp.asarray(tokens['shifted'])
    return encoded, model.apply(params, source, shifted)

  encoded, logits = run(params)
  close(
    encoded[tokens['source'] > 0],
    want.encoder_last_hidden_state.numpy()[tokens['source'] > 0],
  )
  close(logits, want.logits)


@pytest.mark.parametrize(
  ('untied', 'projection'),
  [(False, 'gated-gelu'), (False, 'relu'), (True, 'gated-silu')],
)
def test_t5_kin(
  untied, projection, make_t5, config_of, nested, tokens, tmp_path
):
  theirs = make_t5(untied, feed_forward_proj=projection)
  theirs.save_pretrained(tmp_path)
  model, params = our_t5(tmp_path, config_of(tmp_path), nested)
  assert model.config.logits_via_embedding is not untied
  got = jax.jit(model.apply)(
    params, jnp.asarray(tokens['source']), jnp.asarray(tokens['shifted'])
  )
  close(got, t5_logits(theirs, tokens).logits)


def test_mt5(hf, config_of, nested, tokens, tmp_path):
  config = hf.MT5Config(
    vocab_size=64, d_model=32, d_kv=8, num_heads=4, d_ff=48, num_layers=1
  )
  theirs = hf.MT5ForConditionalGeneration(config).eval()
  theirs.save_pretrained(tmp_path)
  model, params = our_t5(tmp_path, config_of(tmp_path), nested)
  got = jax.jit(model.apply)(
    params, jnp.asarray(tokens['source']), jnp.asarray(tokens['shifted'])
  )
  close(got, t5_logits(theirs, tokens).logits)


@pytest.mark.parametrize('untied', [False, True])
def test_umt5(untied, hf_umt5, config_of, nested, tokens, tmp_path):
  import copy
  import json

  import torch

  theirs = copy.deepcopy(hf_umt5)
  if untied:
    theirs.lm_head.weight = torch.nn.Parameter(
      4 * theirs.lm_head.weight.flip(0)
    )
  theirs.save_pretrained(tmp_path)
  config = config_of(tmp_path) | {'tie_word_embeddings': not untied}
  (tmp_path / 'config.json').write_text(json.dumps(config))
  model, params = our_t5(tmp_path, config, nested)
  assert 'relpos_bias' in params['params']['decoder']['layers']
  got = jax.jit(model.apply)(
    params, jnp.asarray(tokens['source']), jnp.asarray(tokens['shifted'])
  )
  want = t5_logits(theirs, tokens).logits
  # transformers 5 scales untied logits too; T5X, which trained umT5, doesn't.
  close(got, want * 32**0.5 if untied else want)
  if untied:  # tied logits of so small a model repeat one token
    text_equal(theirs, tmp_path, config, nested, tokens)
  # What is written is a UMT5ForConditionalGeneration again, bit for bit.
  convert.convert(str(tmp_path), str(tmp_path / 'again'))
  again = type(theirs).from_pretrained(tmp_path / 'again').state_dict()
  for name, value in theirs.state_dict().items():
    np.testing.assert_array_equal(again[name].numpy(), value.numpy(), name)


def test_a_table_no_code_reads_is_listed(t5_folder, tmp_path):
  """t5-small and its like have one; transformers ignores it too."""
  import shutil

  shutil.copytree(t5_folder, tmp_path / 't5')
  path = tmp_path / 't5/model.safetensors'
  name = (
    'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'
  )
  tensors = safetensors_format.read(path)
  loaded = {n: leaves.from_array(x.load()) for n, x in tensors.items()}
  loaded[name] = leaves.from_array(np.zeros((32, 4), np.float32))
  path.unlink()
  safetensors_format.write(path, loaded)
  assert weights.open_weights(str(tmp_path / 't5')).left == [name]


def test_siglip(hf_siglip, siglip_folder, config_of, nested, images):
  import torch

  with torch.no_grad():
    want = hf_siglip(torch.tensor(images.transpose(0, 3, 1, 2)))
  vision = siglip_names.vision_config(config_of(siglip_folder))
  params = {'params': nested(weights.open_weights(str(siglip_folder)))}
  for pool in ('map', 'none', 'gap'):
    model = vit.ViT(siglip_names.variant(vision), 32, pool_type=pool, **OPTIONS)
    got, out = jax.jit(model.apply)(params, jnp.asarray(images))
    close(out['encoded'], want.last_hidden_state)
    close(
      got,
      {
        'map': want.pooler_output,
        'none': want.last_hidden_state,
        'gap': want.last_hidden_state.mean(dim=1),
      }[pool],
    )


def test_bfloat16_weights_stay_bfloat16(hf_t5, config_of, nested, tmp_path):
  """Saved in bfloat16 and computed in float32, both give the same logits."""
  import copy

  import torch

  theirs = copy.deepcopy(hf_t5).to(torch.bfloat16)
  theirs.save_pretrained(tmp_path)
  found = weights.open_weights(str(tmp_path))
  assert {str(leaf.dtype) for leaf in found.leaves.values()} == {'bfloat16'}
  model, params = our_t5(tmp_path, config_of(tmp_path), nested)
  rng = np.random.default_rng(0)
  ids = {
    'source': rng.integers(2, 64, (2, 20)),
    'shifted': rng.integers(2, 64, (2, 6)),
  }
  want = t5_logits(theirs.to(torch.float32), ids).logits
  inputs = [jnp.asarray(ids['source']), jnp.asarray(ids['shifted'])]
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
  close(jax.jit(model.apply)(params, *inputs), want)
  # Computed in bfloat16: 8 bits of mantissa through four layers.
  low, params = our_t5(tmp_path, config_of(tmp_path), nested, dtype='bfloat16')
  close(jax.jit(low.apply)(params, *inputs), want, 3e-2)


def test_bfloat16_towers(hf_siglip, siglip_folder, config_of, nested, images):
  """Activations in bfloat16: within 2 % of the largest feature."""
  import torch

  with torch.no_grad():
    want = hf_siglip(torch.tensor(images.transpose(0, 3, 1, 2))).pooler_output
  vision = siglip_names.vision_config(config_of(siglip_folder))
  params = {'params': nested(weights.open_weights(str(siglip_folder)))}
  model = vit.ViT(
    siglip_names.variant(vision), 32, pool_type='map', remat_policy='none'
  )
  got, _ = jax.jit(model.apply)(params, jnp.asarray(images))
  close(got, want, 2e-2)


def test_greedy_text(hf_t5, t5_folder, config_of, nested, tokens):
  text_equal(hf_t5, t5_folder, config_of(t5_folder), nested, tokens)


def text_equal(theirs, folder, config, nested, tokens):
  """Decoded with our cache, from the files: the ids that `generate` gives."""
  import torch

  from vidlm.models import decoding
  from vidlm.models.video_vlm import VideoVLM

  config = t5_names.model_config(config, **OPTIONS)
  model = VideoVLM(
    config, '16,1,32,2/16', image_size=32, dtype='float32', scan=False
  )
  source = tokens['source'][:, :40]
  batch = {
    'frames': jnp.zeros((3, 1, 32, 32, 3), jnp.uint8),
    'frame_mask': jnp.zeros((3, 1), bool),  # text alone
    'encoder_input_tokens': jnp.asarray(source),
    'decoder_input_tokens': jnp.asarray(tokens['shifted']),
  }
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  img = jax.tree.map(lambda x: jnp.zeros(x.shape), nn.unbox(shapes['img']))
  llm = nested(weights.open_weights(str(folder)))
  greedy = jax.jit(decoding.greedy, static_argnames=('model', 'max_length'))
  got = greedy(model, {'img': img, 'llm': llm}, batch, max_length=12).tokens
  want = theirs.generate(
    input_ids=torch.tensor(source),
    attention_mask=torch.tensor(source > 0).long(),
    max_new_tokens=12,
    num_beams=1,
    do_sample=False,
  ).numpy()[:, 1:]
  assert len(np.unique(want)) > 3
  np.testing.assert_array_equal(got[:, 0, : want.shape[1]], want)
