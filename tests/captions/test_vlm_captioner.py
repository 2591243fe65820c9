"""The video VLM as captioner: one shape, any order, any number of devices."""

import dataclasses
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import flax.linen as nn
import jax
import numpy as np
import pytest

from vidlm.captions import caption, identity, vlm
from vidlm.data.feed import vocabulary
from vidlm.data.store import caption_sets as captions_lib
from vidlm.models import samplers, video_vlm
from vidlm.nn import t5

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = ['red ball falls', 'blue box rises', 'a green dog runs home']
LLM = t5.T5Config(
  vocab_size=64,
  emb_dim=16,
  num_heads=2,
  head_dim=8,
  num_encoder_layers=1,
  num_decoder_layers=1,
  mlp_dim=24,
  dtype='float32',
  remat_policy='none',
)
MODEL = video_vlm.VideoVLM(
  LLM, '16,1,32,2/8', image_size=16, dtype='float32', remat_policy='none'
)


OPTIONS = {
  'clips_per_device': 2,
  'num_frames': 3,
  'image_size': 16,
  'num_samples': 3,
  'max_length': 6,
}


def make_params(seed=0):
  batch = {
    'frames': np.zeros((1, 3, 16, 16, 3), np.uint8),
    'frame_mask': np.ones((1, 3), bool),
    'encoder_input_tokens': np.ones((1, 4), np.int32),
    'decoder_input_tokens': np.ones((1, 4), np.int32),
  }
  shapes = nn.unbox(jax.eval_shape(MODEL.init, jax.random.key(0), batch))
  rng = np.random.default_rng(seed)
  # Large enough for clips to differ in their captions.
  return jax.tree.map(
    lambda x: rng.normal(0, 0.5, x.shape).astype(x.dtype), shapes['params']
  )


def make_vocabulary(folder):
  path = os.path.join(folder, 'words.model')
  if not os.path.exists(path):
    vocabulary.train_sentencepiece(WORDS, path, vocab_size=40)
  return vocabulary.Vocabulary(path)


@pytest.fixture(scope='module')
def words(tmp_path_factory):
  return make_vocabulary(tmp_path_factory.mktemp('vocabulary'))


@pytest.fixture(scope='module')
def make(words):
  params = make_params()

  # Compiled once for each set of options.
  @functools.cache
  def captioner(**options):
    options = {
      **OPTIONS,
      'devices': tuple(jax.local_devices()[:1]),
      **options,
    }
    return vlm.VLMCaptioner(
      MODEL, options.pop('params', params), words, **options
    )

  return captioner


def clips(number):
  rng = np.random.default_rng(1)
  frames = rng.integers(0, 256, (number, 3, 16, 16, 3), np.uint8)
  ids = np.array([identity.hash32(f'c{i}') for i in range(number)], np.uint32)
  return frames, np.ones((number, 3), bool), ids


def caption_all(captioner, arrays):
  """Captions in batches of the captioner's own size."""
  found = []
  for first in range(0, len(arrays[0]), captioner.batch_size):
    part = [array[first : first + captioner.batch_size] for array in arrays]
    found += captioner.submit(*part)()
  return found


def test_captions(make):
  captioner = make()
  found = caption_all(captioner, clips(4))
  assert len(found) == 4
  for clip in found:
    assert [len(clip.captions), len(clip.logprobs), len(clip.lengths)] == [
      3
    ] * 3
    assert all(isinstance(text, str) for text in clip.captions)
    assert all(value < 0 for value in clip.logprobs)
    assert all(1 <= n <= 6 for n in clip.lengths)
  assert len({tuple(clip.captions) for clip in found}) == 4
  assert len(set(found[0].captions)) > 1


def test_neighbours_and_place_in_the_batch_do_not_matter(make):
  captioner = make()
  frames, mask, ids = clips(8)
  plain = caption_all(captioner, (frames, mask, ids))
  for seed in range(3):
    order = np.random.default_rng(seed).permutation(8)
    turned = caption_all(captioner, (frames[order], mask[order], ids[order]))
    assert [plain[i] for i in order] == turned


def test_number_of_devices_does_not_matter(make):
  one = caption_all(make(), clips(16))
  eight = make(devices=tuple(jax.local_devices()))
  assert eight.batch_size == 16
  assert caption_all(eight, clips(16)) == one
  assert eight.identity() == make().identity()


def test_seed_prompt_and_id_matter(make):
  frames, mask, ids = clips(2)
  base = caption_all(make(), (frames, mask, ids))
  assert base == caption_all(make(), (frames, mask, ids))
  assert base != caption_all(make(seed=1), (frames, mask, ids))
  assert base != caption_all(make(prompt='red box rises'), (frames, mask, ids))
  other = caption_all(make(), (frames, mask, ids[::-1].copy()))
  assert base[0] != other[0]


def test_more_samples_begin_with_the_same(make):
  few, many = make(), make(num_samples=5)
  arrays = clips(2)
  for a, b in zip(
    caption_all(few, arrays), caption_all(many, arrays), strict=True
  ):
    assert a.captions == b.captions[:3]


def test_a_prompt_for_each_clip(make, words):
  captioner, arrays = make(num_samples=2), clips(2)
  prompts = ['red ball', 'a green dog runs home and a blue box rises']
  tokens = vlm.prompt_tokens(words, prompts)
  lengths = [len(words.prompt(text)) for text in prompts]
  assert lengths[0] < lengths[1] and tokens.shape[1] % 8 == 0
  assert np.count_nonzero(tokens, axis=1).tolist() == lengths
  both = captioner.submit(*arrays, tokens)()
  # What the neighbour is asked is of no consequence, to the bit.
  for i in range(2):
    alike = captioner.submit(*arrays, tokens[[i, i]])()
    assert alike[i] == both[i]
    assert alike[1 - i] != both[1 - i]
  # Padding takes no part; it may round differently.
  for i, text in enumerate(prompts):
    plain = make(num_samples=2, prompt=text).submit(*arrays)()[i]
    assert plain.captions == both[i].captions
    np.testing.assert_allclose(plain.logprobs, both[i].logprobs, rtol=1e-4)


def test_a_constant_prompt_is_a_prompt_for_each(make, words):
  arrays = clips(2)
  prompt = np.int32(words.prompt(make().prompt))
  given = make().submit(*arrays, np.tile(prompt, (2, 1)))()
  assert given == make().submit(*arrays)()


def test_greedy_gives_one_caption(make):
  captioner = make(sampler=samplers.Greedy(), num_samples=4)
  assert captioner.num_samples == 1
  (first, _) = caption_all(captioner, clips(2))
  assert len(first.captions) == 1
  again = caption_all(make(sampler=samplers.Greedy(), seed=9), clips(2))
  assert again[0] == first


def test_identity_is_json_and_sees_what_matters(make, tmp_path):
  base = make().identity()
  assert json.loads(json.dumps(base)) == base
  assert base['sampler'] == {
    'type': 'Nucleus',
    'temperature': 0.7,
    'top_p': 0.95,
  }
  assert base['architecture']['llm_config']['emb_dim'] == 16
  assert base['backend'] == 'cpu cpu'
  assert base['model'] == make().name == f'vlm-{base["weights"][:12]}'
  hashes = {captions_lib.config_hash(base)}
  for change in (
    {'prompt': '?'},
    {'seed': 1},
    {'num_samples': 2},
    {'max_length': 5},
    {'clips_per_device': 1},
    {'num_frames': 2},
    {'name': 'mine'},
    {'sampler': samplers.Nucleus(0.9)},
    {'params': make_params(1)},
  ):
    other = dataclasses.replace(make(), **{'name': '', **change})
    hashes.add(captions_lib.config_hash(other.identity()))
  assert len(hashes) == 10
  words = make_vocabulary(tmp_path)
  changed = vocabulary.Vocabulary(words.path, extra_ids=100)
  other = dataclasses.replace(make(), vocabulary=changed)
  assert captions_lib.config_hash(other.identity()) not in hashes


def test_nonsense_is_refused(make):
  with pytest.raises(ValueError, match='clips_per_device=0'):
    make(clips_per_device=0)


class NoiseClips:
  """Shards of random clips."""

  num_shards = 5

  def __init__(self):
    self.config = {'kind': 'noise'}

  def digest(self, shard):
    return str(shard)

  def rows(self, shard):
    return 3

  def open(self, shards):
    from vidlm.captions import inputs

    frames, mask, _ = clips(15)
    for shard in shards:
      yield (
        shard,
        (
          inputs.InputClip(f'c{i}', frames=frames[i], frame_mask=mask[i])
          for i in range(3 * shard, 3 * shard + 3)
        ),
      )

  def close(self):
    pass


def caption_noise(captioner, output, wait_seconds=60.0):
  return caption.caption_source(
    captioner, NoiseClips(), output, caption.Run(wait_seconds=wait_seconds)
  )


_PROCESS = """
import importlib.util, os, signal, sys
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=2'
import jax
script, output, folder, address, index, kill = sys.argv[1:]
jax.distributed.initialize(
  address, 2, int(index), heartbeat_timeout_seconds=10
)
spec = importlib.util.spec_from_file_location('captioner_test', script)
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
captioner = test.vlm.VLMCaptioner(
  test.MODEL, test.make_params(), test.make_vocabulary(folder), **test.OPTIONS
)
if kill == index:
  write = test.captions_lib.write_file
  def die(path, *args):
    write(path, *args)
    os.kill(os.getpid(), signal.SIGKILL)
  test.captions_lib.write_file = die
wait = 60.0 if kill == 'none' else 2.0
print(test.caption_noise(captioner, output, wait), flush=True)
"""


@pytest.fixture
def start_two(words):
  def start(output, kill='none'):
    with socket.socket() as probe:
      probe.bind(('localhost', 0))
      address = f'localhost:{probe.getsockname()[1]}'
    folder = os.path.dirname(words.path)
    return [
      subprocess.Popen(
        [
          *(sys.executable, '-c', _PROCESS, __file__, str(output), folder),
          *(address, str(index), kill),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
      )
      for index in range(2)
    ]

  return start


@pytest.mark.alone
def test_two_distributed_processes_one_of_them_killed(
  make, start_two, tmp_path, hashes
):
  caption_noise(make(), str(tmp_path / 'one'))
  output = tmp_path / 'two'
  first, second = start_two(output, kill='1')
  second.communicate(timeout=120)
  assert second.returncode == -signal.SIGKILL
  _, err = first.communicate(timeout=120)
  assert first.returncode != 0, err
  print(err)
  unfinished = hashes(output)
  assert captions_lib.file_name(1, 5) in unfinished
  assert captions_lib.file_name(3, 5) not in unfinished
  assert captions_lib.MANIFEST not in unfinished
  processes = start_two(output)
  results = [process.communicate(timeout=120) for process in processes]
  for process, (out, err) in zip(processes, results, strict=True):
    assert process.returncode == 0, err
    assert '15 clips (15 ok' in out and 'finished' in out
  assert hashes(tmp_path / 'one') == hashes(output)
