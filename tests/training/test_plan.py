"""`plan` on a model small enough to count by hand."""

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from vidlm.core import partitioning
from vidlm.training import hardware, optim, plan, plan_report, topology
from vidlm.training import recipe as recipe_lib


class Layer(nn.Module):
  """One scanned layer that constrains its carry, as the real ones do."""

  width: int

  @nn.compact
  def __call__(self, x: Any, _: None) -> tuple[Any, None]:
    x = partitioning.constrain(x, 'batch', 'embed')
    init = nn.with_logical_partitioning(
      nn.initializers.lecun_normal(), ('embed', 'mlp')
    )
    x = x + nn.Dense(self.width, False, kernel_init=init, name='dense')(x)
    return partitioning.constrain(x, 'batch', 'embed'), None


class Towers(nn.Module):
  """An `img` of one matrix, and an `llm` of stacked ones."""

  width: int = 256
  depth: int = 3

  @nn.compact
  def __call__(self, x: Any) -> Any:
    init = nn.with_logical_partitioning(
      nn.initializers.lecun_normal(), ('embed', 'mlp')
    )
    x = nn.Dense(self.width, False, kernel_init=init, name='img')(x)
    stack = nn.scan(
      Layer,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      length=self.depth,
      metadata_params={nn.PARTITION_NAME: 'layers'},
    )
    return stack(self.width, name='llm')(x, None)[0]


@dataclasses.dataclass(frozen=True)
class ToyObjective:
  """See `vidlm.training.objective.Objective`."""

  model: Towers = Towers()

  def init(self, rng: Any) -> Any:
    return self.model.init(rng, jnp.zeros((1, self.model.width)))['params']

  def loss_fn(self, params: Any, batch: Any, rng: Any) -> Any:
    loss = jnp.square(self.model.apply({'params': params}, batch['x'])).mean()
    return loss, {'loss': loss}

  def batch_shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    return {
      'x': jax.ShapeDtypeStruct((batch_size, self.model.width), jnp.float32)
    }

  def flops_per_step(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    one = 2.0 * batch_size * self.model.width**2
    factor = 3 if is_trained('img/kernel') else 1
    return one * (factor + self.model.depth * (2 if factor == 3 else 3))


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Like `MeshConfig`."""

  data: int = -1
  model: int = 1

  def partitioner(self, devices: Any = None) -> partitioning.Partitioner:
    mesh = partitioning.make_mesh(self.data, self.model, devices)
    return partitioning.Partitioner(mesh)


def recipe(**changes: Any) -> recipe_lib.Recipe:
  defaults = recipe_lib.Recipe(
    objective=ToyObjective(),
    schedule=[('img/.*', optim.constant(1e-3)), ('llm/.*', None)],
    optimizer=optim.AdamW(),
    loop=recipe_lib.Loop(
      train_steps=1000,
      batch_size=64,
      peak_flops=changes.pop('peak_flops', None),
    ),
    mesh=Mesh(2, 2),
  )
  return dataclasses.replace(defaults, **changes)


def flags(**values: Any) -> argparse.Namespace:
  defaults = {
    'topology': None,
    'json': None,
    'gin_file': ['a b.gin'],
    'gin_bindings': ['X="y"'],
    'gin_search_paths': '',
  }
  return argparse.Namespace(**(defaults | values))


def test_counts() -> None:
  report = plan.plan(recipe())
  one = 256 * 256
  assert report['parameters'] == {
    'img': one,
    'llm': 3 * one,
    'total': 4 * one,
    'trainable': one,
  }
  assert report['flops_per_step'] == 2 * 64 * one * (3 + 3 * 2)
  assert report['flops'] == 1000 * report['flops_per_step']
  # AdamW: two moments in float32 and a step; frozen weights in bfloat16.
  assert report['bytes']['trained'] == 4 * one
  assert report['bytes']['frozen'] == 2 * 3 * one
  assert report['bytes']['optimizer'] == pytest.approx(8 * one, abs=16)
  assert report['chips'] == 4
  v5e = 197e12 * 0.5 * 3600
  assert report['chip_hours'] == pytest.approx(report['flops'] / v5e)
  assert report['hours'] == pytest.approx(report['chip_hours'] / 4)


def test_adafactor_keeps_rows_and_columns_of_every_layer() -> None:
  both = recipe(
    schedule=[('.*', optim.constant(1e-3))], optimizer=optim.Adafactor()
  )
  used = plan.plan(both)['bytes']
  assert used['frozen'] == 0
  assert used['optimizer'] == pytest.approx(4 * 2 * 256 * 4, abs=100)


@dataclasses.dataclass(frozen=True)
class SplitObjective(ToyObjective):
  """The toy in two halves; contrasts, so that halves are computed twice."""

  loss_is_linear: bool = False

  def outputs(self, params: Any, batch: Any, rng: Any) -> Any:
    out = self.model.apply({'params': params}, batch['x'])
    return {'each': jnp.square(out).mean(axis=1)}

  def loss_of_outputs(self, params: Any, outputs: Any, batch: Any) -> Any:
    loss = jax.nn.logsumexp(outputs['each'])
    return loss, {'loss': loss}

  def repeated_flops(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    return self.flops_per_step(batch_size, is_trained) / 3


def in_parts(number: int | None, **changes: Any) -> recipe_lib.Recipe:
  whole = recipe(objective=SplitObjective(), **changes)
  loop = dataclasses.replace(whole.loop, num_microbatches=number)
  return dataclasses.replace(whole, loop=loop)


def test_microbatches_repeat_flops_and_sum_gradients_in_float32() -> None:
  whole, parts = (plan.plan(in_parts(number)) for number in (1, 4))
  assert plan.plan(in_parts(None)) == whole
  assert (whole['num_microbatches'], parts['num_microbatches']) == (1, 4)
  assert whole['repeated_flops_per_step'] == 0
  for name in ('flops_per_step', 'flops', 'chip_hours'):
    assert parts[name] == pytest.approx(whole[name] * 4 / 3)
  assert whole['bytes']['accumulators'] == 0
  assert parts['bytes']['accumulators'] == 4 * 256 * 256  # of img alone
  more = parts['bytes']['total'] - whole['bytes']['total']
  assert more == parts['bytes']['accumulators']
  text = plan_report.render(parts)
  assert 'batch of 64 in 4 parts of 16, 1.33 x those of one part' in text
  assert 'accumulators 0.00' in text
  assert 'parts' not in plan_report.render(whole)
  assert 'accumulators' not in plan_report.render(whole)


def test_microbatches_that_do_not_fit_are_refused() -> None:
  with pytest.raises(ValueError, match=r'64 over 2 devices .* multiple of 6'):
    plan.plan(in_parts(3))
  with pytest.raises(ValueError, match='ToyObjective computes its loss in one'):
    plan.plan(dataclasses.replace(in_parts(4), objective=ToyObjective()))


def test_microbatches_are_compiled() -> None:
  """The step that is planned: its activations are a quarter."""
  temps = []
  for number in (1, 4):
    wide = in_parts(number, mesh=Mesh(1, 1))
    loop = dataclasses.replace(wide.loop, batch_size=8192)
    wide = dataclasses.replace(wide, loop=loop)
    compiled = plan.compile_train_step(wide, jax.devices()[:1])
    temps.append(topology.memory(compiled)['temp'])
  assert temps[1] < 0.5 * temps[0]


def test_peak_by_topology_then_recipe_then_v5e() -> None:
  assert plan.plan(recipe())['chip'] == 'v5e'
  known = plan.plan(recipe(peak_flops=312e12))
  assert (known['chip'], known['peak_flops']) == ('a100', 312e12)
  odd = plan.plan(recipe(peak_flops=1e12))
  assert odd['chip'] is None and 'chip of 1 TFLOP/s' in plan_report.render(odd)
  pod = plan.plan(recipe(peak_flops=312e12), hardware.parse_topology('v6e:4x4'))
  assert (pod['chip'], pod['chips']) == ('v6e', 16)


def test_a_mesh_left_open_counts_one_chip_a_model_shard() -> None:
  assert plan.plan(recipe(mesh=Mesh(-1, 2)))['chips'] == 2


def test_json_and_text(
  tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
  file = tmp_path / 'plan.json'
  report = plan.run('vidlm', flags(json=str(file)), recipe())
  assert json.loads(file.read_text()) == report
  text = capsys.readouterr().out
  assert '262,144 (img 65,536, llm 196,608)' in text
  assert 'trainable   65,536 (25.0%)' in text


def test_the_child_parses_the_same_recipe() -> None:
  command = plan.child_command('dualenc', flags(topology='v5e:2x2'))
  assert command == [
    sys.executable,
    '-m',
    'dualenc',
    'plan',
    '--topology=v5e:2x2',
    '--gin_file=a b.gin',
    '--gin_bindings=X="y"',
    '--gin_search_paths=',
  ]


def test_with_a_topology(
  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
  used = {'argument': 2, 'output': 1, 'alias': 1, 'temp': 2**34, 'total': 2**35}
  monkeypatch.setattr(topology, 'run_in_child', lambda command, slice_: used)
  report = plan.run('vidlm', flags(topology='v5e:2x2'), recipe())
  assert report['bytes_per_chip'] == 2**35
  assert report['chips'] == 4 and report['fits'] is False
  assert report['chip'] == 'v5e'
  assert 'mesh 2 x 2: DOES NOT FIT' in capsys.readouterr().out


def test_a_mesh_left_open_takes_what_the_topology_has(
  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
  used = dict.fromkeys(('argument', 'output', 'alias', 'temp', 'total'), 0)
  monkeypatch.setattr(topology, 'run_in_child', lambda command, slice_: used)
  open_ = recipe(mesh=Mesh(-1, 2))
  report = plan.run('vidlm', flags(topology='h200:8'), open_)
  assert report['mesh'] == {'data': 4, 'model': 2}
  assert report['chip'] == 'h200'  # not h100/h200, whose peaks are equal
  assert 'mesh 4 x 2: fits' in capsys.readouterr().out


def test_compiles_the_step_that_training_runs() -> None:
  compiled = plan.compile_train_step(recipe(), jax.devices()[:4])
  used = topology.memory(compiled)
  # A quarter of the trained state and of the frozen weights, and a batch that
  # is split over the two halves of 'data'.
  state = plan.plan(recipe())['bytes']['total'] / 4
  batch = 64 * 256 * 4 / 2
  assert used['argument'] == pytest.approx(state + batch, rel=0.05)
  assert used['alias'] > 0  # The state is donated.


@pytest.mark.skipif(
  not topology.available(), reason='libtpu (extra `tpu`) is not installed'
)
def test_compiles_ahead_of_time_for_v5e() -> None:
  path = pathlib.Path(__file__)
  script = (
    f'import sys; sys.path.insert(0, {str(path.parent)!r})\n'
    f'import {path.stem} as toy\n'
    'from vidlm.core import plan\n'
    'plan.run("vidlm", toy.flags(topology="v5e:2x2"), toy.recipe())'
  )
  slice_ = hardware.parse_topology('v5e:2x2')
  used = topology.run_in_child([sys.executable, '-c', script], slice_)
  assert 0 < used['total'] < 2**24
