"""The parts of gpu.py: each measures one thing and returns a dict of figures.

A part runs in a process of its own, so that its peak memory is its own and
one that runs out of memory takes no other part with it.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dualenc import objective as dualenc_objective
from dualenc.models import text, two_towers, vit_st
from vidlm.core import partitioning, trees
from vidlm.models import decoding, flops, objective, samplers, video_vlm
from vidlm.nn import t5
from vidlm.training import hardware, optim, step

STAGES = {
  # Paper section 4: visual adaptation trains the image encoder with its
  # projection, language adaptation the language model.
  'stage1': [('img/.*', optim.constant(1e-4)), ('llm/.*', None)],
  'stage2': [('img/.*', None), ('llm/.*', optim.constant(1e-4))],
}
INPUTS = {'stage1': 8, 'stage2': 40}
TARGETS = {'stage1': 32, 'stage2': 64}
# Captions are sampled to the end: with random weights hardly any ends earlier.
CAPTION_TOKENS = 32


@dataclasses.dataclass(frozen=True)
class Options:
  """What every part is told.

  Attributes:
    size: 'full' or 'miniature'.
    vit_attention: Implementation in the image towers.
    llm_attention: Implementation in the language model.
    remat_policy: See `nn.layers.REMAT_POLICIES`.
    steps: Timed repetitions, after two that are not.
  """

  size: str = 'full'
  vit_attention: str = 'xla'
  llm_attention: str = 'xla'
  remat_policy: str = 'nothing_saveable'
  steps: int = 10


def vlm(options: Options, dtype: str = 'bfloat16') -> video_vlm.VideoVLM:
  """The paper's model, or a small one of the same kind."""
  sizes = {
    'full': (t5.T5Config(), 'G/14', 224),
    'medium': (
      t5.T5Config(num_encoder_layers=2, num_decoder_layers=2),
      '1664,2,8192,16/14',
      224,
    ),
    'miniature': (
      t5.T5Config(
        vocab_size=256,
        emb_dim=64,
        num_heads=4,
        head_dim=16,
        mlp_dim=128,
        num_encoder_layers=2,
        num_decoder_layers=2,
      ),
      '64,2,128,4/8',
      32,
    ),
  }
  config, variant, image_size = sizes[options.size]
  config = dataclasses.replace(
    config,
    attention=options.llm_attention,
    dtype=dtype,
    remat_policy=options.remat_policy,
  )
  return video_vlm.VideoVLM(
    llm_config=config,
    variant=variant,
    image_size=image_size,
    dtype=dtype,
    attention=options.vit_attention,
    remat_policy=options.remat_policy,
  )


def dual_encoder(
  options: Options, dtype: str = 'bfloat16'
) -> two_towers.TwoTowers:
  """ViT-st-L/14 with CLIP's text tower, or a small one of the same kind."""
  common = {
    'dtype': dtype,
    'attention': options.vit_attention,
    'remat_policy': options.remat_policy,
  }
  sizes = {
    'full': (('L/14', 224), (768, 12, 12, 49408), 768),
    'medium': (('1024,2,4096,16/14', 224), (768, 2, 12, 49408), 768),
    'miniature': (('64,2,128,4/8', 32), (64, 2, 4, 256), 64),
  }
  (variant, image_size), (width, depth, heads, vocab), embed = sizes[
    options.size
  ]
  return two_towers.TwoTowers(
    vit_st.ViTST(variant, image_size=image_size, embed_dim=embed, **common),
    text.TextTransformer(
      width, depth, heads, vocab_size=vocab, embed_dim=embed, **common
    ),
  )


def vlm_objective(
  options: Options, part: str, dtype: str = 'bfloat16'
) -> objective.VLMObjective:
  """Eight frames, and the text lengths of a stage."""
  return objective.VLMObjective(
    vlm(options, dtype),
    num_frames=8 if options.size != 'miniature' else 2,
    task_feature_lengths={'inputs': INPUTS[part], 'targets': TARGETS[part]},
  )


def random_batch(
  shapes: dict[str, jax.ShapeDtypeStruct], vocab_size: int
) -> dict[str, np.ndarray]:
  """Fresh random frames and tokens; everything counts."""
  rng = np.random.default_rng(0)
  batch = {}
  for name, leaf in shapes.items():
    if leaf.dtype == jnp.uint8:
      batch[name] = rng.integers(0, 256, leaf.shape, np.uint8)
    elif leaf.dtype == jnp.int32:
      batch[name] = rng.integers(2, vocab_size, leaf.shape, np.int32)
    else:
      batch[name] = np.ones(leaf.shape, leaf.dtype)
  return batch


def peak_memory() -> int | None:
  """Most bytes this process ever held on its device; None on a CPU."""
  stats = jax.local_devices()[0].memory_stats()
  return stats.get('peak_bytes_in_use') if stats else None


def timed(step: Callable[[], Any], steps: int) -> dict[str, float]:
  """Runs `step` twice to warm up, then `steps` times against the clock."""
  start = time.perf_counter()
  jax.block_until_ready(step())
  first = time.perf_counter() - start
  jax.block_until_ready(step())
  times = []
  for _ in range(steps):
    start = time.perf_counter()
    jax.block_until_ready(step())
    times.append(time.perf_counter() - start)
  return {
    'seconds': statistics.median(times),
    'seconds_min': min(times),
    'seconds_max': max(times),
    'seconds_first': first,
  }


def rates_of(
  figures: dict[str, float], clips: int, work: float, ceiling: float | None
) -> dict[str, Any]:
  """Adds clips/s and utilisation, of the measured ceiling and of the sheet."""
  seconds = figures['seconds']
  chip = hardware.chip_of(jax.local_devices()[0].device_kind)
  achieved = work / seconds
  return figures | {
    'batch_size': clips,
    'clips_per_second': clips / seconds,
    'model_flops': work,
    'model_flops_per_second': achieved,
    'utilisation_of_ceiling': achieved / ceiling if ceiling else None,
    'utilisation_of_data_sheet': achieved / chip.peak_flops if chip else None,
    'peak_memory_bytes': peak_memory(),
  }


def ceiling(options: Options) -> dict[str, Any]:
  """The fastest of some bfloat16 matrix products: what 100 % would be."""
  sizes = (256,) if options.size == 'miniature' else (4096, 8192, 16384)
  results = {}
  count = 8

  @jax.jit
  def chain(x, y):
    # A chain hides dispatch, and no product in it can be left out.
    y = y / jnp.bfloat16(y.shape[0] ** 0.5)
    return jax.lax.fori_loop(0, count, lambda _, x: x @ y, x)

  for n in sizes:
    keys = jax.random.split(jax.random.key(n))
    x, y = (jax.random.normal(k, (n, n), jnp.bfloat16) for k in keys)
    figures = timed(functools.partial(chain, x, y), options.steps)
    results[n] = count * 2 * n**3 / figures['seconds']
  return {'flops_per_second': max(results.values()), 'by_size': results}


def train_part(
  options: Options,
  part: str,
  batch_size: int,
  ceiling_flops: float | None,
) -> dict[str, Any]:
  """A training step of one stage, or of the dual encoder."""
  if part == 'dualenc':
    task = dualenc_objective.DualEncoderObjective(dual_encoder(options))
    schedule, optimizer = [('.*', optim.constant(3e-5))], optim.AdamW()
    vocab_size = task.model.txt.vocab_size
  else:
    task = vlm_objective(options, part)
    schedule, optimizer = STAGES[part], optim.Adafactor()
    vocab_size = task.model.llm_config.vocab_size
  partitioner = partitioning.Partitioner(
    partitioning.make_mesh(devices=jax.local_devices()[:1])
  )
  names = list(trees.flatten(step.abstract_params(task)))
  tx = optim.make(names, schedule, optimizer)
  built = step.build_train_step(task, tx, partitioner, batch_size, 'bfloat16')
  state = step.initial_state(task, tx, partitioner, 'bfloat16', 0, {})
  batch = partitioner.shard_batch(
    random_batch(task.batch_shapes(batch_size), vocab_size)
  )
  rates, key = tx.learning_rates(0), jax.random.key(0)

  def one_step():
    nonlocal state  # Donated: every call takes the state of the one before.
    state, scalars = built.function(state, batch, rates, key)
    return scalars

  with partitioner.activate():
    figures = timed(one_step, options.steps)
    loss = float(one_step()['loss'])
  work = task.flops_per_step(batch_size, tx.is_trained)
  sizes = {name: leaf.size for name, leaf in state.trained.items()}
  frozen = sum(leaf.size for leaf in state.frozen.values())
  return rates_of(figures, batch_size, work, ceiling_flops) | {
    'parameters': sum(sizes.values()) + frozen,
    'trained_parameters': sum(sizes.values()),
    'loss': loss,
  }


def random_params(init: Callable[[Any], Any]) -> Any:
  """Random bfloat16 weights, made on the device leaf by leaf."""
  make = jax.jit(
    lambda rng: jax.tree.map(
      lambda x: x.astype(jnp.bfloat16), nn.unbox(init(rng))
    )
  )
  return make(jax.random.key(0))


def caption_part(
  options: Options,
  num_samples: int,
  batch_size: int,
  ceiling_flops: float | None,
) -> dict[str, Any]:
  """K nucleus samples of 32 tokens for each clip of a batch."""
  task = vlm_objective(options, 'stage1')
  params = random_params(task.init)
  shapes = task.batch_shapes(batch_size)
  names = ('frames', 'frame_mask', 'encoder_input_tokens')
  vocab_size = task.model.llm_config.vocab_size
  batch = random_batch({name: shapes[name] for name in names}, vocab_size)
  batch = jax.device_put(batch)
  keys = decoding.sample_keys(
    0, jnp.arange(batch_size, dtype=jnp.uint32), num_samples
  )
  sample = jax.jit(
    lambda params, batch, keys: decoding.sample(
      task.model,
      params,
      batch,
      sampler=samplers.Nucleus(),
      num_samples=num_samples,
      max_length=CAPTION_TOKENS,
      keys=keys,
    )
  )
  figures = timed(lambda: sample(params, batch, keys), options.steps)
  lengths = np.asarray(sample(params, batch, keys).lengths)
  # All R samples of all clips are computed until the last one has ended.
  decoded = int(lengths.max())
  work = sum(
    flops.captioning(
      task.model, task.num_frames, INPUTS['stage1'], decoded, num_samples
    ).values()
  )
  return rates_of(figures, batch_size, batch_size * work, ceiling_flops) | {
    'num_samples': num_samples,
    'captions_per_second': batch_size * num_samples / figures['seconds'],
    'mean_tokens': float(lengths.mean()),
    'tokens_decoded': decoded,
  }
