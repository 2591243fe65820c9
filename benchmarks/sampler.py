"""Our sampler against a t5x-style one: time and FLOPs, same weights and shapes.

The t5x-style sampler does what `t5x/models.py:predict_batch_with_aux` and
`examples/t5/layers.py` do: it runs the encoder once, repeats its output for
each of the R samples of a clip, keeps a cache for self-attention, and projects
the cross-attention keys and values of all encoder positions again at each step.
Ours projects them once and lets the R samples query one copy.

  python benchmarks/sampler.py --output=benchmarks/results/sampler_cpu.json

Both decode greedily in the same run and must agree token for token; times are
of nucleus sampling with the same keys for both.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidlm.core import circumstances, files
from vidlm.models import decoding, flops, samplers
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import t5


@dataclasses.dataclass(frozen=True)
class Setup:
  """Sizes of the comparison: small, but with many visual tokens."""

  clips: int = 2
  num_frames: int = 8
  inputs: int = 8
  targets: int = 16
  width: int = 256
  layers: int = 4
  vocab_size: int = 2048

  def model(self) -> VideoVLM:
    """Returns a VLM with 64 tokens a frame."""
    config = t5.T5Config(
      vocab_size=self.vocab_size,
      emb_dim=self.width,
      num_heads=4,
      head_dim=self.width // 4,
      num_encoder_layers=self.layers,
      num_decoder_layers=self.layers,
      mlp_dim=self.width * 5 // 2,
      dtype='float32',
    )
    variant = f'{self.width},{self.layers},{4 * self.width},4/8'
    return VideoVLM(config, variant, image_size=64, dtype='float32')


@dataclasses.dataclass(frozen=True)
class Paper(Setup):
  """The paper's model; for the arithmetic only."""

  targets: int = 32

  def model(self) -> VideoVLM:
    """Returns ViT-G/14 with a 3B language model of 250,112 tokens."""
    return VideoVLM(t5.T5Config(vocab_size=250_112))


def t5x_style_sample(
  model: VideoVLM,
  params: Any,
  batch: dict[str, jax.Array],
  *,
  sampler: samplers.Sampler,
  num_samples: int,
  max_length: int,
  keys: jax.Array,
) -> jax.Array:
  """Samples as t5x does; see the head of this file.

  Args:
    model: the VLM.
    params: its parameters.
    batch: encoder inputs, [B, ...].
    sampler: see `vidlm.models.samplers`.
    num_samples: K.
    max_length: L.
    keys: [B, K].

  Returns:
    Tokens [B, K, L].
  """

  def call(method: str, *args: Any) -> Any:
    return model.apply({'params': params}, *args, method=method)

  encoded, mask = call('encode', batch)
  rows = encoded.shape[0] * num_samples
  encoded = jnp.repeat(encoded, num_samples, axis=0)  # flat_batch_beam_expand
  mask = jnp.repeat(mask, num_samples, axis=0)
  keys = keys.reshape(rows)
  cache = call('init_cache', rows, 1, max_length)

  def step(state):
    index, last, tokens, ended, cache = state
    # The projections are part of the step: nothing is kept but `encoded`. The
    # barrier stops the compiler from moving them out of the loop.
    source, _ = jax.lax.optimization_barrier((encoded, index))
    cross_kv = call('precompute_cross_kv', source)
    logits, cache = call(
      'decode_step', last[:, None], index, cache, cross_kv, mask
    )
    draw = lambda row, key: sampler(row, jax.random.fold_in(key, index))
    ids = jax.vmap(draw)(logits[:, 0], keys).astype(jnp.int32)
    ids = jnp.where(ended, 0, ids)
    tokens = tokens.at[:, index].set(ids)
    ended = ended | (ids == decoding.EOS_ID)
    return index + 1, ids, tokens, ended, cache

  zeros = jnp.zeros(rows, jnp.int32)
  state = (
    jnp.zeros((), jnp.int32),
    zeros,
    jnp.zeros((rows, max_length), jnp.int32),
    jnp.zeros(rows, bool),
    cache,
  )
  state = jax.lax.while_loop(
    lambda s: (s[0] < max_length) & ~jnp.all(s[3]), step, state
  )
  return state[2].reshape(-1, num_samples, max_length)


def our_sample(*args: Any, **kwargs: Any) -> jax.Array:
  """Returns the tokens of `decoding.sample`."""
  return decoding.sample(*args, **kwargs).tokens


def random_inputs(setup: Setup, seed: int) -> tuple[Any, dict[str, jax.Array]]:
  """Makes weights and clips.

  Args:
    setup: sizes.
    seed: of both.

  Returns:
    Parameters and encoder inputs. EOS gets a middling logit: greedy text never
    ends and not all samples do, so every run takes all its steps.
  """
  task = VLMObjective(
    setup.model(),
    setup.num_frames,
    {'inputs': setup.inputs, 'targets': setup.targets},
  )
  params = nn.unbox(jax.jit(task.init)(jax.random.key(seed)))
  logits = params['llm']['decoder']['logits_dense']
  logits['kernel'] = logits['kernel'].at[:, decoding.EOS_ID].set(0.0)
  rng = np.random.default_rng(seed)
  shapes = task.batch_shapes(setup.clips)
  batch = {
    'frames': rng.integers(0, 256, shapes['frames'].shape, np.uint8),
    'frame_mask': np.ones(shapes['frame_mask'].shape, bool),
    'encoder_input_tokens': rng.integers(
      2, setup.vocab_size, shapes['encoder_input_tokens'].shape, np.int32
    ),
  }
  return params, {name: jnp.asarray(x) for name, x in batch.items()}


def arithmetic(setup: Setup, num_samples: int) -> dict[str, float]:
  """Returns FLOPs a clip of both samplers, matrix products only.

  Args:
    setup: sizes.
    num_samples: K.
  """
  parts = flops.captioning(
    setup.model(), setup.num_frames, setup.inputs, setup.targets, num_samples
  )
  ours = sum(parts.values())
  # R samples x L steps in place of once.
  repeats = num_samples * setup.targets - 1
  return {
    'ours': ours,
    't5x_style': ours + repeats * parts['cross keys and values'],
  }


def median_seconds(
  runs: dict[str, Callable[[], jax.Array]], repeats: int
) -> dict[str, float]:
  """Returns the median time of compiled calls.

  Args:
    runs: each called once to compile, then timed in turns, so that whatever
      else the machine does falls on all alike.
    repeats: number of timed calls of each.
  """
  for run in runs.values():
    run().block_until_ready()
  seconds = {name: [] for name in runs}
  for _ in range(repeats):
    for name, run in runs.items():
      start = time.perf_counter()
      run().block_until_ready()
      seconds[name].append(time.perf_counter() - start)
  return {name: float(np.median(values)) for name, values in seconds.items()}


def compare(
  setup: Setup, params: Any, batch: Any, num_samples: int, args: Any
) -> dict[str, Any]:
  """Times both samplers and checks that they agree.

  Args:
    setup: sizes.
    params: weights.
    batch: clips.
    num_samples: K.
    args: `seed` and `repeats`.

  Returns:
    A row of the result.

  Raises:
    AssertionError: if greedy tokens differ.
  """
  ids = jnp.arange(setup.clips, dtype=jnp.uint32)
  keys = decoding.sample_keys(args.seed, ids, num_samples)
  functions = {'ours': our_sample, 't5x_style': t5x_style_sample}

  def compiled(name: str, sampler: samplers.Sampler) -> Callable[[], jax.Array]:
    fn = functools.partial(
      functions[name],
      setup.model(),
      sampler=sampler,
      num_samples=num_samples,
      max_length=setup.targets,
    )
    return functools.partial(jax.jit(fn), params, batch, keys=keys)

  greedy = {
    name: np.asarray(compiled(name, samplers.Greedy())()) for name in functions
  }
  np.testing.assert_array_equal(greedy['ours'], greedy['t5x_style'])
  nucleus = {name: compiled(name, samplers.Nucleus()) for name in functions}
  seconds = median_seconds(nucleus, args.repeats)
  counted = arithmetic(setup, num_samples)
  return {
    'num_samples': num_samples,
    'greedy_tokens_agree': True,
    'seconds': seconds,
    'flops_per_clip': counted,
    'time_ratio': seconds['t5x_style'] / seconds['ours'],
    'flops_ratio': counted['t5x_style'] / counted['ours'],
  }


def main() -> None:
  """Runs the comparison for R = 4 and 8 and writes it down."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument(
    '--output', type=pathlib.Path, required=True, help='JSON file to write'
  )
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--repeats', type=int, default=5)
  args = parser.parse_args()
  setup = Setup()
  params, batch = random_inputs(setup, args.seed)
  rows = [compare(setup, params, batch, k, args) for k in (4, 8)]
  result = {
    'command': ' '.join(['python', *sys.argv]),
    'seed': args.seed,
    'repeats': args.repeats,
    'machine': {
      'cpu_count': os.cpu_count(),
      'processor': circumstances.processor(),
      'backend': jax.default_backend(),
      'jax': jax.__version__,
      'python': platform.python_version(),
    },
    'setup': dataclasses.asdict(setup),
    'visual_tokens': setup.num_frames * 64,
    'results': rows,
    'paper_size_flops_ratio': {
      str(k): paper['t5x_style'] / paper['ours']
      for k in (4, 8)
      for paper in [arithmetic(Paper(), k)]
    },
  }
  files.make_folder(args.output.parent)
  files.write_json(args.output, result)
  for row in rows:
    print(
      f'K = {row["num_samples"]}: {row["time_ratio"]:.1f}x the time, '
      f'{row["flops_ratio"]:.1f}x the FLOPs of ours in the t5x style '
      f'({row["seconds"]["t5x_style"]:.2f} s against '
      f'{row["seconds"]["ours"]:.2f} s); greedy tokens agree.'
    )


if __name__ == '__main__':
  main()
