"""Small VLMs of Gemma 1 and 2, their inputs and compiled programs."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vidlm.models import decoding, samplers
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import gemma

V, B, L = 24, 4, 6
ONE = gemma.GemmaConfig(
  vocab_size=V,
  emb_dim=16,
  num_layers=3,
  mlp_dim=24,
  num_heads=4,
  num_kv_heads=1,
  head_dim=8,
  dtype='float32',
  remat_policy='none',
)
# The window is shorter than prefix and text.
TWO = dataclasses.replace(
  ONE,
  num_kv_heads=2,
  post_norms=True,
  attn_logit_cap=5.0,
  final_logit_cap=6.0,
  sliding_window=5,
  query_scale=0.4,
)
KINDS = {'gemma': ONE, 'gemma2': TWO}
NUCLEUS = samplers.Nucleus(top_p=0.95, temperature=0.7)
IDS = jnp.asarray([11, 7, 2**32 - 1, 5], jnp.uint32)


def vlm(llm: gemma.GemmaConfig) -> VideoVLM:
  return VideoVLM(
    llm, '16,1,32,2/8', image_size=16, dtype='float32', remat_policy='none'
  )


def objective(llm: gemma.GemmaConfig) -> VLMObjective:
  return VLMObjective(vlm(llm), 2, {'inputs': 6, 'targets': L})


def inputs() -> dict[str, jax.Array]:
  """Prompts of four lengths; a clip of one frame and one of none."""
  rng = np.random.default_rng(0)
  tokens = rng.integers(2, V, (B, 6))
  for row, length in zip(tokens, (6, 1, 3, 4), strict=True):
    row[length:] = 0
  return {
    'frames': jnp.asarray(rng.integers(0, 256, (B, 2, 16, 16, 3)), 'uint8'),
    'frame_mask': jnp.asarray([[1, 1], [1, 1], [1, 0], [0, 0]], bool),
    'encoder_input_tokens': jnp.asarray(tokens, 'int32'),
  }


BATCH = inputs()


def with_targets(tokens, lengths) -> dict[str, jax.Array]:
  real = jnp.arange(tokens.shape[1]) < lengths[:, None]
  return BATCH | {
    'decoder_input_tokens': jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1],
    'decoder_target_tokens': tokens,
    'decoder_loss_weights': real.astype(jnp.float32),
  }


TARGETS = jnp.asarray(np.random.default_rng(5).integers(2, V, (B, L)))
TRAINING = with_targets(TARGETS, jnp.asarray([6, 4, 6, 2]))


def random_params(llm: gemma.GemmaConfig):
  tree = nn.unbox(jax.eval_shape(objective(llm).init, jax.random.key(0)))
  rng = np.random.default_rng(1)
  flat = {
    name: jnp.asarray(rng.normal(size=x.shape) * 0.3, jnp.float32)
    for name, x in flatten_dict(tree, sep='/').items()
  }
  flat['llm/embedder/input_embedding'] *= 0.5
  return unflatten_dict(flat, sep='/')


forward = jax.jit(
  lambda model, p, b: model.apply({'params': p}, b), static_argnums=0
)
sample = jax.jit(
  decoding.sample,
  static_argnames=('model', 'sampler', 'num_samples', 'max_length'),
)
score = jax.jit(decoding.score, static_argnums=0)


def draw(llm, params, number, sampler, batch=BATCH, length=L):
  return sample(
    vlm(llm),
    params,
    batch,
    sampler=sampler,
    num_samples=number,
    max_length=length,
    keys=decoding.sample_keys(0, IDS, number),
  )
