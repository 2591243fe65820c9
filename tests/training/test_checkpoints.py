"""Checkpoints: layout, damage, other layouts of devices."""

import json
import pathlib
import random
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import toy_training as toy

from vidlm.core import partitioning, trees
from vidlm.training import checkpoints, fingerprints, optim, step, train_state

CONFIGS = [
  optim.Adafactor(min_dim_size_to_factor=16, momentum=0.9),
  optim.AdamW(),
  optim.Sgd(None),
]


def partitioner(data=1, model=1):
  devices = jax.devices()[: data * model]
  mesh = partitioning.make_mesh(data, model, devices)
  return partitioning.Partitioner(mesh, fsdp_min_size=64)


def make(config=optim.AdamW(), schedule=toy.LLM, where=None, hidden=64):
  """A fresh state and what describes it."""
  objective = toy.ToyObjective(toy.Toy(hidden=hidden))
  names = list(trees.flatten(step.abstract_params(objective)))
  tx = optim.make(names, schedule, config)
  arguments = (objective, tx, where or partitioner(), 'bfloat16')
  return step.initial_state(*arguments, 0, {}), step.abstract_state(*arguments)


def at(state, number):
  return state.replace(step=jnp.int32(number))


def save(folder, state, *steps, keep=5):
  saver = checkpoints.Checkpoints(str(folder), keep)
  for number in steps:
    saver.save(number, at(state, number))
  saver.close()


def restore(folder, abstract):
  saver = checkpoints.Checkpoints(str(folder))
  try:
    return saver.restore_latest(abstract)
  finally:
    saver.close()


def assert_same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize('config', CONFIGS)
def test_round_trip_and_layout(tmp_path, config):
  state, abstract = make(config)
  assert restore(tmp_path, abstract) is None
  save(tmp_path, state, 1, 2)
  assert (tmp_path / 'checkpoint_2' / 'state').is_dir()
  assert_same(restore(tmp_path, abstract), at(state, 2))
  saved = train_state.to_state_dict(state)
  assert saved.keys() == {'target', 'state'}
  assert saved['state'].keys() == {'step', 'param_states'}


def test_keep(tmp_path):
  save(tmp_path, make()[0], 1, 2, 3, 4, keep=2)
  assert sorted(p.name for p in tmp_path.glob('checkpoint_*')) == [
    'checkpoint_3',
    'checkpoint_4',
  ]


def test_restore_onto_other_devices(tmp_path):
  config = optim.Adafactor(min_dim_size_to_factor=16)
  state, _ = make(config, toy.BOTH, partitioner(4, 2))
  save(tmp_path, state, 7)
  for where in (partitioner(), partitioner(2, 4), partitioner(8)):
    _, abstract = make(config, toy.BOTH, where)
    restored = restore(tmp_path, abstract)
    assert_same(restored, at(state, 7))
    for got, wanted in zip(
      jax.tree.leaves(restored), jax.tree.leaves(abstract), strict=True
    ):
      assert got.sharding == wanted.sharding


def payload(folder):
  """Files that hold values or say where they are."""
  return sorted(
    p
    for p in (folder / 'state').rglob('*')
    if p.is_file() and (p.parent.name == 'd' or p.name == 'manifest.ocdbt')
  )


def truncate(folder):
  path = max(payload(folder), key=lambda p: p.stat().st_size)
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(folder):
  for path in payload(folder):
    path.unlink()


def flip(folder):
  path = max(payload(folder), key=lambda p: p.stat().st_size)
  raw = bytearray(path.read_bytes())
  raw[random.Random(0).randrange(len(raw) // 4, len(raw) // 2)] ^= 0x10
  path.write_bytes(bytes(raw))


def no_metadata(folder):
  (folder / 'state' / '_METADATA').unlink()


def flip_fingerprint(folder):
  path = folder / 'fingerprints' / 'metadata'
  saved = json.loads(path.read_text())
  saved['target/img/Dense_0/kernel'] ^= 1
  path.write_text(json.dumps(saved))


@pytest.mark.parametrize(
  'damage', [truncate, remove, flip, no_metadata, flip_fingerprint]
)
def test_a_damaged_newest_falls_back_and_says_so(tmp_path, damage, monkeypatch):
  state, abstract = make()
  save(tmp_path, state, 1, 2)
  damage(tmp_path / 'checkpoint_2')
  said = []
  monkeypatch.setattr(
    logging, 'warning', lambda text, *args: said.append(text % args)
  )
  assert_same(restore(tmp_path, abstract), at(state, 1))
  ours = [line for line in said if 'is damaged' in line]
  assert len(ours) == 1 and '\n' not in ours[0]
  assert 'checkpoint_2 is damaged' in ours[0]
  # Its step can be saved again, and is then the newest.
  save(tmp_path, state, 2)
  assert_same(restore(tmp_path, abstract), at(state, 2))
  assert (tmp_path / 'damaged_checkpoint_2').is_dir()
  if damage is not no_metadata:
    with pytest.raises(ValueError, match='damaged'):
      checkpoints.load_params(str(tmp_path / 'damaged_checkpoint_2'))


def test_every_single_flipped_byte_is_harmless_or_noticed(tmp_path):
  state, abstract = make(hidden=8)
  save(tmp_path, state, 1)
  path = max(payload(tmp_path / 'checkpoint_1'), key=lambda p: p.stat().st_size)
  raw = path.read_bytes()
  for position in random.Random(1).sample(range(len(raw)), 12):
    broken = bytearray(raw)
    broken[position] ^= 1 << (position % 8)
    path.write_bytes(bytes(broken))
    try:
      got = restore(tmp_path, abstract)
    except ValueError:
      continue
    assert_same(got, at(state, 1))


def test_leftovers_of_a_killed_save_are_ignored(tmp_path):
  state, abstract = make()
  save(tmp_path, state, 1)
  (tmp_path / 'checkpoint_9.orbax-checkpoint-tmp' / 'state').mkdir(parents=True)
  assert int(restore(tmp_path, abstract).step) == 1
  assert checkpoints.find(str(tmp_path)).parent.name == 'checkpoint_1'


@pytest.mark.parametrize(
  'change,match',
  [
    (dict(hidden=32), r'target/img/Dense_0/bias is float32\[64\].*\[32\]'),
    (dict(schedule=toy.IMG), 'SCHEDULE'),
    (dict(config=optim.Sgd(None)), 'also holds state/param_states'),
  ],
)
def test_another_model_is_refused_and_named(tmp_path, change, match):
  save(tmp_path, make(schedule=toy.BOTH)[0], 1)
  with pytest.raises(ValueError, match=match):
    restore(tmp_path, make(**({'schedule': toy.BOTH} | change))[1])
  assert (tmp_path / 'checkpoint_1').is_dir()


def test_load_params(tmp_path, monkeypatch):
  state, _ = make()
  save(tmp_path / 'run', state, 1, 2)
  monkeypatch.chdir(tmp_path)
  newest = tmp_path / 'run' / 'checkpoint_2'
  for path in ('run', tmp_path / 'run', newest, newest / 'state'):
    params = checkpoints.load_params(str(path))
    flat = trees.flatten(params)
    assert all(isinstance(x, np.ndarray) for x in flat.values())
    assert_same(flat, trees.flatten(jax.device_get(state.params)))
  for path in ('nothing', tmp_path):
    with pytest.raises(FileNotFoundError, match='no finished checkpoint'):
      checkpoints.load_params(str(path))


@pytest.mark.parametrize('damage', [truncate, flip, flip_fingerprint])
def test_load_params_falls_back_too_and_says_so(tmp_path, damage, monkeypatch):
  state, _ = make()
  other = state.replace(
    trained={name: x + 1 for name, x in state.trained.items()}
  )
  save(tmp_path, state, 1)
  save(tmp_path, other, 2)
  flat = trees.flatten(checkpoints.load_params(str(tmp_path)))
  assert_same(flat, trees.flatten(jax.device_get(other.params)))
  damage(tmp_path / 'checkpoint_2')
  said = []
  monkeypatch.setattr(
    logging, 'warning', lambda text, *args: said.append(text % args)
  )
  flat = trees.flatten(checkpoints.load_params(str(tmp_path)))
  assert_same(flat, trees.flatten(jax.device_get(state.params)))
  (ours,) = [line for line in said if 'is damaged' in line]
  assert 'checkpoint_2 is damaged' in ours and '\n' not in ours
  # Nothing is set aside: whoever only reads changes no run.
  assert (tmp_path / 'checkpoint_2').is_dir()
  # One that was named is not replaced by another.
  with pytest.raises(ValueError, match=r'checkpoint_2.*damaged'):
    checkpoints.load_params(str(tmp_path / 'checkpoint_2'))
  damage(tmp_path / 'checkpoint_1')
  with pytest.raises(ValueError, match=r'checkpoint_2.*damaged'):
    checkpoints.load_params(str(tmp_path))


def test_fit_params_lists_dropped_and_fresh():
  wanted = {'a/x': np.zeros(2), 'a/y': np.zeros(3)}
  kept, dropped, fresh = checkpoints.fit_params(
    {'a': {'x': np.ones(2)}, 'old': np.ones(1)}, wanted
  )
  assert list(kept) == ['a/x'] and dropped == ['old'] and fresh == ['a/y']
  with pytest.raises(ValueError, match=r'a/x: .*\(4,\).*\(2,\)'):
    checkpoints.fit_params({'a': {'x': np.ones(4)}}, wanted)
  with pytest.raises(ValueError, match='shares no parameter'):
    checkpoints.fit_params({'b': np.ones(4)}, wanted)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int32', 'bool'])
def test_fingerprints_agree_and_see_one_bit(dtype):
  rng = np.random.default_rng(0)
  x = np.asarray(jnp.asarray(rng.normal(size=(8, 6, 5)) * 10, dtype))
  sharded = jax.device_put(
    x,
    jax.sharding.NamedSharding(
      partitioning.make_mesh(4, 2), jax.sharding.PartitionSpec('data', 'model')
    ),
  )
  host = fingerprints.of({'x': x})
  assert fingerprints.of({'x': jnp.asarray(x)}) == host
  assert fingerprints.of({'x': sharded}) == host
  other = x.copy()
  other.reshape(-1).view(f'uint{8 * x.itemsize}')[77] ^= 1
  assert fingerprints.of({'x': other}) != host
  swapped = x[::-1].copy()
  assert dtype == 'bool' or fingerprints.of({'x': swapped}) != host
