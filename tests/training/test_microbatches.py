"""A batch in parts: cuts, sums, keys, memory, and the step without parts."""

import dataclasses
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import microbatch_steps as steps
import toy_training as toy

from vidlm.core import partitioning, trees
from vidlm.training import microbatches, objective, optim


@dataclasses.dataclass(frozen=True)
class SplitToy(toy.ToyObjective):
  """The toy with a loss of outputs: a weighted mean, or a contrast."""

  noise: float = 0.0
  contrasts: bool = False

  @property
  def loss_is_linear(self):
    return not self.contrasts

  def loss_fn(self, params, batch, rng):
    return self.loss_of_outputs(params, self.outputs(params, batch, rng), batch)

  def outputs(self, params, batch, rng):
    noise = self.noise * jax.random.normal(rng, batch['x'].shape)
    out = self.model.apply({'params': params}, batch['x'] + noise)
    if self.contrasts:
      return {'out': out}
    return {'error': jnp.square(out - batch['y']).mean(axis=1)}

  def loss_of_outputs(self, params, outputs, batch):
    if self.contrasts:
      # A parameter that reaches the loss past the outputs, as a logit scale.
      scale = jnp.exp(params['llm']['Dense_1']['bias'][0])
      logits = scale * outputs['out'] @ batch['y'].T
      loss = (jax.nn.logsumexp(logits, axis=1) - jnp.diag(logits)).mean()
    else:
      weights = jnp.abs(batch['y'][:, 0])
      loss = (outputs['error'] * weights).sum() / weights.sum()
    return loss, {'mean': jax.tree.leaves(outputs)[0].mean()}

  def repeated_flops(self, batch_size, is_trained):
    del is_trained
    return 8.0 * batch_size if self.contrasts else 0.0


TOYS = {'mean': SplitToy(), 'contrast': SplitToy(contrasts=True)}
BATCHES = [next(toy.Feed()(number)) for number in range(3)]


@pytest.fixture(scope='module')
def params():
  return steps.random_params(SplitToy())


@pytest.fixture(scope='module', params=TOYS)
def whole(request, params):
  task = TOYS[request.param]
  return task, steps.train(task, params, BATCHES, 1)


@pytest.mark.parametrize(
  ('mesh', 'parts'), [((1, 1), 4), ((1, 1), 16), ((8, 1), 2), ((4, 2), 4)]
)
def test_equals_the_whole_batch(params, whole, mesh, parts):
  task, want = whole
  got = steps.train(task, params, BATCHES, parts, mesh)
  steps.assert_same(got, want)
  steps.assert_moved(got, params)


def test_one_part_is_the_step_as_it_was(params):
  """To the bit, against a step that knows of no parts."""
  task, tx = toy.ToyObjective(), optim.make(list(params), steps.ALL, steps.SGD)

  @jax.jit
  def plain(trained, state, batch, key):
    def loss_fn(trained):
      return task.loss_fn(trees.unflatten(trained), batch, key)

    (loss, _), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained)
    rates = jnp.asarray(tx.learning_rates(0))
    updates, state, _ = tx.update(grads, state, trained, rates)
    return optax.apply_updates(trained, updates), state, loss

  for parts in (None, 1):
    got = steps.train(task, params, BATCHES, parts)
    trained, state = params, tx.tx.init(params)
    for number, batch in enumerate(BATCHES):
      key = jax.random.fold_in(jax.random.key(0), number)
      trained, state, loss = plain(trained, state, batch, key)
      assert got.metrics[number]['loss'] == float(loss)
    jax.tree.map(np.testing.assert_array_equal, got.trained, dict(trained))


def test_each_part_has_its_own_key_in_both_passes(params):
  """Against the loss of outputs that are drawn part by part by hand."""
  task, batch = SplitToy(noise=0.5, contrasts=True), BATCHES[0]
  got = steps.train(task, params, [batch], 4)

  def loss_fn(trained):
    key = jax.random.fold_in(jax.random.key(0), 0)
    tree, made = trees.unflatten(trained), []
    for i in range(4):
      part = {name: x[4 * i : 4 * i + 4] for name, x in batch.items()}
      part_key = jax.random.fold_in(key, i)
      made.append(task.outputs(tree, part, part_key)['out'])
    return task.loss_of_outputs(tree, {'out': jnp.concatenate(made)}, batch)[0]

  loss, grads = jax.jit(jax.value_and_grad(loss_fn))(params)
  assert got.metrics[0]['loss'] == pytest.approx(float(loss), rel=1e-6)
  for name, grad in grads.items():
    np.testing.assert_allclose(
      got.trained[name], params[name] - 0.05 * grad, atol=1e-6, err_msg=name
    )


@pytest.fixture(scope='module')
def partitioner():
  return partitioning.Partitioner(partitioning.make_mesh(4, 2))


def test_every_device_keeps_its_rows(partitioner):
  split = microbatches.Split(2, partitioner)
  rows = np.arange(16, dtype=np.int32).reshape(16, 1)
  batch = partitioner.shard_batch({'rows': rows})
  of_device = {
    s.device: _values(s.data) for s in batch['rows'].addressable_shards
  }
  seen = []
  for i in range(2):
    part = jax.jit(split.take)(batch, i)
    for shard in part['rows'].addressable_shards:
      assert len(shard.data) == 2
      assert _values(shard.data) <= of_device[shard.device]
    seen += _values(part['rows'])
  assert sorted(seen) == list(range(16))


def _values(x):
  return set(np.asarray(x).flatten().tolist())


def test_parts_are_joined_in_the_order_of_the_batch(partitioner):
  split = microbatches.Split(2, partitioner)

  def there_and_back(batch):
    parts = jax.lax.map(lambda i: split.take(batch, i), jnp.arange(2))
    return split.join(parts)

  batch = partitioner.shard_batch({'rows': np.arange(48.0).reshape(16, 3)})
  compiled = jax.jit(there_and_back).lower(batch).compile()
  joined = compiled(batch)['rows']
  np.testing.assert_array_equal(joined, batch['rows'])
  assert joined.sharding.is_equivalent_to(partitioner.batch_sharding, 2)
  moves = r'all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter'
  assert not re.search(moves, compiled.as_text())


def test_sums_are_float32_of_what_trains_alone():
  _, _, built = steps.build(SplitToy(), 16, 4, schedule=toy.LLM)
  traced = jax.make_jaxpr(built.function)(
    built.state, built.batch, built.learning_rates, built.key
  )
  (scan,) = [e for e in _equations(traced.jaxpr) if e.primitive.name == 'scan']
  assert scan.params['length'] == 4
  begin = scan.params['num_consts']
  carry = scan.invars[begin : begin + scan.params['num_carry']]
  got = sorted((v.aval.shape, v.aval.dtype.name) for v in carry if v.aval.shape)
  trained = built.state.trained.values()
  assert got == sorted((x.shape, 'float32') for x in trained)
  assert len(got) == 4 and len(built.state.frozen) == 4


def _equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    inner = equation.params.get('jaxpr')
    if equation.primitive.name in ('jit', 'pjit'):
      yield from _equations(inner.jaxpr)


def test_frozen_leaves_cost_nothing_in_parts_either():
  """A part's FLOPs, whose loop body the compiler counts once."""

  def flops(schedule, parts):
    task = SplitToy(toy.Toy(width=256, hidden=512))
    partitioner, _, built = steps.build(task, 2048, parts, schedule=schedule)
    with partitioner.activate():
      return built.compile().cost_analysis()['flops']

  for schedule, share in ((toy.BOTH, 11), (toy.IMG, 9), (toy.LLM, 7)):
    # Of the eleven matrix products of a step, see test_loop.
    one = 2 * 2048 / 4 * 256 * 512
    assert flops(schedule, 4) == pytest.approx(share * one, rel=0.05)


def test_resumes_exactly_and_with_other_parts(tmp_path):
  arguments = dict(objective=SplitToy(noise=0.1), num_microbatches=4)
  want = toy.train(tmp_path / 'whole', **arguments)
  with pytest.raises(OSError, match='disk gone'):
    toy.train(tmp_path / 'cut', feed=toy.Feed(fail_at=5), **arguments)
  got = toy.train(tmp_path / 'cut', **arguments)
  jax.tree.map(np.testing.assert_array_equal, got, want)
  quiet = dict(objective=SplitToy(), optimizer=steps.SGD)
  want = toy.train(tmp_path / 'one', **quiet)
  toy.train(tmp_path / 'other', train_steps=3, num_microbatches=4, **quiet)
  got = toy.train(tmp_path / 'other', num_microbatches=2, **quiet)
  for name, value in want.trained.items():
    np.testing.assert_allclose(got.trained[name], value, atol=1e-5)


@pytest.mark.parametrize(
  ('task', 'mesh', 'parts', 'message'),
  [
    (SplitToy(), (1, 1), 3, 'BATCH_SIZE=16 over 1 devices .* multiple of 3'),
    (SplitToy(), (4, 2), 8, 'BATCH_SIZE=16 over 4 devices .* multiple of 32'),
    (SplitToy(), (1, 1), 0, 'NUM_MICROBATCHES=0: need a whole number'),
    (toy.ToyObjective(), (1, 1), 2, 'ToyObjective computes its loss in one'),
  ],
)
def test_what_can_not_be_split_is_one_line(task, mesh, parts, message):
  with pytest.raises(ValueError, match=message) as error:
    steps.build(task, 16, parts, mesh)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('number', [2.0, '4'])
def test_gin_may_hand_over_anything(number):
  with pytest.raises(ValueError, match=f'{number!r}: need a whole number'):
    microbatches.checked(number, SplitToy(), 16, 1)


def test_the_contract():
  assert isinstance(SplitToy(), objective.Splittable)
  assert not isinstance(toy.ToyObjective(), objective.Splittable)
