"""A two-tower toy to train in tests: img -> llm, two layers each.

Also a program, so that a test can kill it: `python toy_training.py MODEL_DIR`.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidlm.core import partitioning
from vidlm.training import loop, optim, preemption, scoring
from vidlm.training import recipe as recipe_lib

TRACES = []  # One entry whenever a loss function is traced.
BOTH = (
  ('img/.*', optim.warmup_rsqrt(1e-2, 3)),
  ('llm/.*', optim.constant(1e-2)),
)
IMG = (('img/.*', optim.warmup_rsqrt(1e-2, 3)), ('llm/.*', None))
LLM = (('img/.*', None), ('llm/.*', optim.constant(1e-2)))


class Mlp(nn.Module):
  """Two layers."""

  hidden: int
  out: int

  @nn.compact
  def __call__(self, x):
    for i, (width, axes) in enumerate(
      ((self.hidden, ('embed', 'mlp')), (self.out, ('mlp', 'embed')))
    ):
      x = nn.Dense(
        width,
        kernel_init=nn.with_logical_partitioning(
          nn.initializers.lecun_normal(), axes
        ),
        bias_init=nn.with_logical_partitioning(nn.initializers.zeros, axes[1:]),
        name=f'Dense_{i}',
      )(x)
      x = partitioning.constrain(nn.tanh(x), 'batch', axes[1])
    return x


class Toy(nn.Module):
  """img and llm in a row."""

  width: int = 32
  hidden: int = 64

  @nn.compact
  def __call__(self, x):
    x = Mlp(self.hidden, self.width, name='img')(x)
    return Mlp(self.hidden, self.width, name='llm')(x)


@dataclasses.dataclass(frozen=True)
class ToyObjective:
  """Squared error, with a little noise from the step's key."""

  model: Toy = Toy()
  explode_above: float = float('inf')

  def init(self, rng):
    return self.model.init(rng, jnp.zeros((1, self.model.width)))['params']

  def loss_fn(self, params, batch, rng):
    TRACES.append(self)
    noise = 0.1 * jax.random.normal(rng, batch['x'].shape)
    out = self.model.apply({'params': params}, batch['x'] + noise)
    loss = jnp.mean(jnp.square(out - batch['y']))
    loss = jnp.where(jnp.max(batch['x']) > self.explode_above, jnp.nan, loss)
    return loss, {'mean': jnp.mean(out)}

  def eval_fn(self, params, batch, real):
    out = self.model.apply({'params': params}, batch['x'])
    each = jnp.mean(jnp.square(out - batch['y']), axis=1)
    weight = real.sum().astype(jnp.float32)
    return {'loss': (jnp.sum(each * real) / weight, weight)}

  def batch_shapes(self, batch_size):
    shape = jax.ShapeDtypeStruct((batch_size, self.model.width), jnp.float32)
    return {'x': shape, 'y': shape}

  def flops_per_step(self, batch_size, is_trained):
    del is_trained
    return 24.0 * batch_size * self.model.width * self.model.hidden


class Count:
  """An evaluator that counts its calls."""

  def __init__(self):
    self.calls = 0

  def names(self):
    return ['count']

  def __call__(self, params, partitioner):
    assert set(params) == {'img', 'llm'}
    self.calls += 1
    return {'count': float(self.calls)}


def validation(examples=20, batch_size=8):
  """LossScores of the toy, over examples of its own; the last batch padded."""
  x = next(Feed(batch_size=examples)(10**6))

  def batches():
    for first in range(0, examples, batch_size):
      numbers = np.arange(first, first + batch_size, dtype=np.int32)
      numbers[numbers >= examples] = -1
      yield numbers, {name: v[numbers] for name, v in x.items()}

  return scoring.LossScores(ToyObjective(), batches, batch_size)


@dataclasses.dataclass
class Feed:
  """Batches as a function of the step; faults on demand."""

  batch_size: int = 16
  width: int = 32
  fail_at: int | None = None
  big_at: int | None = None
  sigterm_at: int | None = None
  stall_at: int | None = None
  pause: float = 0.0

  def __call__(self, start_step):
    step = start_step
    while True:
      if step == self.fail_at:
        raise OSError('disk gone')
      if step == self.sigterm_at:
        os.kill(os.getpid(), signal.SIGTERM)
      if step == self.stall_at:
        time.sleep(600)
      rng = np.random.default_rng((7, step))
      x = rng.normal(size=(2, self.batch_size, self.width)).astype('float32')
      if step == self.big_at:
        x[0, 0, 0] = 1e4
      time.sleep(self.pause)
      yield {'x': x[0], 'y': np.tanh(x[1])}
      step += 1


@dataclasses.dataclass(frozen=True)
class Mesh:
  """One device, or a partitioner that is given."""

  given: partitioning.Partitioner | None = None
  data: int = 1
  model: int = 1

  def partitioner(self, devices=None):
    if self.given is not None:
      return self.given
    mesh = partitioning.make_mesh(devices=devices or jax.devices()[:1])
    return partitioning.Partitioner(mesh)


_OF_RECIPE = ('objective', 'schedule', 'optimizer')
_OF_LOOP = {field.name for field in dataclasses.fields(recipe_lib.Loop)}


def train(model_dir, **overrides):
  """Runs the loop on the toy; overrides of its recipe, Loop and arguments."""
  arguments = (
    dict(
      objective=ToyObjective(),
      feed=Feed(),
      schedule=BOTH,
      optimizer=optim.Adafactor(min_dim_size_to_factor=16),
      partitioner=None,
      train_steps=8,
      batch_size=16,
      checkpoint_period=3,
      log_period=1,
      keep=2,
    )
    | overrides
  )
  how = {k: arguments.pop(k) for k in _OF_LOOP & set(arguments)}
  recipe = recipe_lib.Recipe(
    **{name: arguments.pop(name) for name in _OF_RECIPE},
    loop=recipe_lib.Loop(**how),
    mesh=Mesh(arguments.pop('partitioner')),
  )
  return loop.train_loop(
    recipe, arguments.pop('feed'), str(model_dir), **arguments
  )


def main():
  """Trains until done or killed."""
  parser = argparse.ArgumentParser()
  parser.add_argument('model_dir')
  parser.add_argument('--train_steps', type=int, default=40)
  parser.add_argument('--pause', type=float, default=0.0)
  parser.add_argument('--stall_at', type=int)
  parser.add_argument('--limit_file_size', type=int)
  args = parser.parse_args()
  # What a shell starts in the background is started to ignore it.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  if args.limit_file_size is not None:
    import resource

    limit = args.limit_file_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
  try:
    train(
      args.model_dir,
      train_steps=args.train_steps,
      feed=Feed(pause=args.pause, stall_at=args.stall_at),
    )
  except preemption.Preempted as stopped:
    print(stopped, file=sys.stderr)
    sys.exit(stopped.exit_code)


if __name__ == '__main__':
  main()
