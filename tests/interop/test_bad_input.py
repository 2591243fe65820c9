"""Damaged, strange and dangerous input: one clear line, nothing half-loaded."""

import json
import pathlib
import pickle
import shutil
import struct

import numpy as np
import pytest
from etils import epath

from vidlm import cli
from vidlm.interop import (
  fitting,
  huggingface,
  leaves,
  paths,
  safetensors_format,
  weights,
)


@pytest.fixture
def folder(siglip_folder, tmp_path):
  shutil.copytree(siglip_folder, tmp_path / 'model')
  return tmp_path / 'model'


def header_of(path):
  content = path.read_bytes()
  (length,) = struct.unpack('<Q', content[:8])
  return json.loads(content[8 : 8 + length]), content[8 + length :]


def put(path, header, data):
  encoded = json.dumps(header).encode()
  path.write_bytes(struct.pack('<Q', len(encoded)) + encoded + data)


def fails(path, match, error=ValueError):
  with pytest.raises(error, match=match) as info:
    weights.open_weights(str(path))
  assert '\n' not in str(info.value)


@pytest.mark.parametrize('keep', [0, 5, 200, 10_000, -1])
def test_truncated(folder, keep):
  path = folder / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:keep])
  fails(folder, 'cut off|damaged')


def test_every_flipped_bit_of_a_header_is_noticed_or_harmless(folder):
  """A flip in names, types, shapes or offsets never gives other weights."""
  path = folder / 'model.safetensors'
  whole = path.read_bytes()
  (length,) = struct.unpack('<Q', whole[:8])
  want = {
    n: np.asarray(x)
    for n, x in weights.open_weights(str(folder)).leaves.items()
  }
  rng = np.random.default_rng(0)
  noticed = 0
  for _ in range(150):
    flipped = bytearray(whole)
    flipped[rng.integers(0, 8 + length)] ^= 1 << rng.integers(0, 8)
    path.write_bytes(bytes(flipped))
    try:
      found = weights.open_weights(str(folder)).leaves
    except (ValueError, FileNotFoundError) as error:
      assert len(str(error)) < 500 and '\n' not in str(error)
      noticed += 1
      continue
    for name, value in want.items():
      np.testing.assert_array_equal(found[name], value)
  assert noticed > 100


def test_header_lies_about_types(folder):
  path = folder / 'model.safetensors'
  header, data = header_of(path)
  header['post_layernorm.weight']['dtype'] = 'F16'
  put(path, header, data)
  fails(folder, 'the header is damaged')
  header['post_layernorm.weight']['dtype'] = 'F8_E4M3'
  put(path, header, data)
  fails(folder, 'the safetensors header is damaged')


def test_values_that_are_not_finite_are_reported(folder):
  path = folder / 'model.safetensors'
  header, data = header_of(path)
  first, _ = header['post_layernorm.weight']['data_offsets']
  flipped = bytearray(data)
  flipped[first : first + 4] = struct.pack('<f', float('nan'))
  put(path, header, bytes(flipped))
  found = weights.open_weights(str(folder)).leaves
  with pytest.raises(ValueError, match='weight: 1 of 32 values'):
    np.asarray(found['Transformer/encoder_norm/scale'])


def test_missing_and_unknown_tensors(folder):
  path = folder / 'model.safetensors'
  tensors = safetensors_format.read(path)
  tensors['strange'] = tensors.pop('post_layernorm.bias')
  loaded = {n: x.load() for n, x in tensors.items()}

  def write():
    path.unlink()
    safetensors_format.write(
      path, {n: leaves.from_array(x) for n, x in loaded.items()}
    )

  write()
  fails(folder, r'1 of 48 tensors are missing: post_layernorm\.bias')
  loaded['post_layernorm.bias'] = loaded['strange']
  write()
  fails(folder, 'no place in this architecture: strange')


def test_shards_and_their_index_disagree(folder):
  tensors = safetensors_format.read(folder / 'model.safetensors')
  loaded = {n: leaves.from_array(x.load()) for n, x in tensors.items()}
  (folder / 'model.safetensors').unlink()
  huggingface.write_tensors(epath.Path(folder), loaded, 20_000)
  shards = sorted(folder.glob('model-*.safetensors'))
  index = folder / 'model.safetensors.index.json'
  described = json.loads(index.read_text())
  assert len(shards) > 2 and weights.open_weights(str(folder)).place == 'img'
  shards[0].rename(folder / 'kept')
  fails(folder, r'1 of \d+ shards are missing: model-00001', FileNotFoundError)
  shutil.copy(shards[1], shards[0])
  fails(folder, 'lacks .*, which the index says')
  (folder / 'kept').rename(shards[0])
  content = shards[1].read_bytes()
  shards[1].write_bytes(content[:-100])
  fails(folder, r'model-00002.*(cut off|damaged)')
  shards[1].write_bytes(content)
  described['weight_map'].popitem()
  index.write_text(json.dumps(described))
  fails(folder, 'tensors are missing')
  index.write_text('[]')
  fails(folder, 'index.json: holds no JSON object')


def test_a_model_is_read_whole_or_not_at_all(folder):
  """Also where the damage shows only when the values are read."""
  path = folder / 'model.safetensors'
  header, data = header_of(path)
  first, _ = header['head.mlp.fc2.bias']['data_offsets']
  flipped = bytearray(data)
  flipped[first : first + 4] = struct.pack('<f', float('inf'))
  put(path, header, bytes(flipped))
  found = weights.open_weights(str(folder))
  with pytest.raises(ValueError, match=r'fc2\.bias: 1 of 32 values'):
    fitting.fit_all(found, found.leaves)


def test_wrong_shape(folder):
  config = json.loads((folder / 'config.json').read_text())
  for key, value in (
    ('hidden_size', 64),
    ('image_size', 48),
    ('patch_size', 4),
  ):
    (folder / 'config.json').write_text(json.dumps({**config, key: value}))
    fails(folder, 'has shape .* config.json means')


@pytest.mark.parametrize(
  ('change', 'match'),
  [
    ({'architectures': ['BertModel'], 'model_type': 'bert'}, 'BertModel'),
    ({'architectures': ['T5ForSequenceClassification']}, 'not known here'),
    ({'architectures': ['Siglip2VisionModel']}, 'NaFlex'),
    ({'hidden_act': 'relu'}, "hidden_act 'relu'"),
    ({'layer_norm_eps': 1e-3}, 'layer_norm_eps'),
    ({'hidden_size': None}, 'ViT variant'),
  ],
)
def test_another_architecture(folder, change, match):
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps({**config, **change}))
  fails(folder, match)


def test_config_missing_or_damaged(folder):
  (folder / 'config.json').write_text('{"architectures": [')
  fails(folder, 'config.json: is damaged')
  (folder / 'config.json').unlink()
  fails(folder, 'no config.json', FileNotFoundError)


def test_pickles_are_refused_with_the_command_that_converts(tmp_path):
  import torch

  state = {'visual.proj': torch.ones(2, 3), 'logit_scale': torch.tensor(2.0)}
  torch.save(state, tmp_path / 'pytorch_model.bin')
  (tmp_path / 'old.pkl').write_bytes(pickle.dumps({'a': 1}))

  class Module(torch.nn.Module):
    def forward(self, x):
      return x

  torch.jit.script(Module()).save(str(tmp_path / 'ViT-B-16.pt'))
  fails(tmp_path / 'ViT-B-16.pt', r"is a pickle.*torch\.jit\.load\(f, 'cpu'\)")
  fails(tmp_path / 'old.pkl', 'is a pickle')
  fails(tmp_path / 'pytorch_model.bin', 'weights_only=True')
  (tmp_path / 'ViT-B-16.pt').unlink()
  fails(tmp_path, 'is a pickle')
  (tmp_path / 'config.json').write_text('{"model_type": "clip"}')
  fails(tmp_path, 'is a pickle')


def test_the_command_that_converts_works(tmp_path):
  import subprocess
  import sys

  import torch

  state = {'visual.proj': torch.ones(2, 3), 'logit_scale': torch.tensor(2.0)}
  torch.save(state, tmp_path / 'clip.pt')
  with pytest.raises(ValueError, match='is a pickle') as info:
    paths.refuse_pickle(tmp_path / 'clip.pt')
  code = str(info.value).split('python -c "')[1].rstrip('"')
  subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)
  found = safetensors_format.read(tmp_path / 'clip.safetensors')
  np.testing.assert_array_equal(found['visual.proj'], np.ones((2, 3)))
  assert np.asarray(found['logit_scale']) == 2.0


def test_shards_of_pickles_are_a_model_after_the_command(hf_t5, tmp_path):
  """Hugging Face's older layout; large models have several."""
  import subprocess
  import sys

  import torch

  state = hf_t5.state_dict()
  names = list(state)
  for i, part in enumerate((names[::2], names[1::2]), 1):
    torch.save(
      {name: state[name] for name in part},
      tmp_path / f'pytorch_model-{i:05d}-of-00002.bin',
    )
  hf_t5.config.save_pretrained(tmp_path)
  with pytest.raises(ValueError, match='in its folder') as info:
    weights.open_weights(str(tmp_path))
  code = str(info.value).split('python -c "')[1].rstrip('"')
  subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)
  found = weights.open_weights(str(tmp_path)).leaves
  np.testing.assert_array_equal(
    found['token_embedder/embedding'], state['shared.weight']
  )
  shard = tmp_path / 'pytorch_model-00001-of-00002.safetensors'
  shutil.copy(shard, tmp_path / 'copy.safetensors')
  fails(tmp_path, 'as another file there does')
  (tmp_path / 'copy.safetensors').unlink()
  shard.unlink()
  fails(tmp_path, 'tensors are missing')


def test_nothing_there(tmp_path):
  fails(tmp_path / 'no', 'no such file', FileNotFoundError)
  fails(tmp_path, 'no weights here', FileNotFoundError)
  (tmp_path / 'x').write_bytes(b'hello world')
  fails(tmp_path / 'x', 'no t5x checkpoint')
  (tmp_path / 'x.safetensors').write_bytes(b'hello world')
  fails(tmp_path / 'x.safetensors', 'no safetensors file')
  (tmp_path / 'x.npz').write_bytes(b'hello world')
  fails(tmp_path / 'x.npz', 'cut off or damaged')


def test_hub_without_client_or_network(monkeypatch):
  import sys

  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  fails('hf://google/t5-v1_1-xl', r"pip install 'vidlm\[hub\]'")
  fails('hf://nobody', 'write hf://owner/name')


def test_hub_offline_is_one_line():
  pytest.importorskip('huggingface_hub')
  fails('hf://nobody/no-such-model', 'could not be fetched')


def test_hub_fetches_no_pickles(monkeypatch, siglip_folder, tmp_path):
  hub = pytest.importorskip('huggingface_hub')
  asked = {}

  def fake(repo, revision, allow_patterns):
    asked.update(repo=repo, revision=revision, patterns=allow_patterns)
    return str(siglip_folder)

  monkeypatch.setattr(hub, 'snapshot_download', fake)
  assert weights.open_weights('hf://google/siglip@v1').place == 'img'
  assert (asked['repo'], asked['revision']) == ('google/siglip', 'v1')
  assert not any(p.endswith(('.bin', '.pt')) for p in asked['patterns'])
  (tmp_path / 'config.json').write_text('{"model_type": "clip"}')
  monkeypatch.setattr(hub, 'snapshot_download', lambda *_, **__: str(tmp_path))
  fails('hf://openai/clip', r'has no \*\.safetensors .* if it has a pickle')


def test_convert_fails_with_one_line_and_leaves_nothing(folder, capsys):
  path = folder / 'model.safetensors'
  header, data = header_of(path)
  first, _ = header['post_layernorm.weight']['data_offsets']
  flipped = bytearray(data)
  flipped[first : first + 4] = struct.pack('<f', float('inf'))
  put(path, header, bytes(flipped))
  target = folder.parent / 'target'
  with pytest.raises(SystemExit) as info:
    cli.main(['convert', str(folder), str(target)])
  assert info.value.code == 2
  lines = capsys.readouterr().err.strip().splitlines()
  assert lines[-1].startswith('error: ') and 'not finite' in lines[-1]
  assert sorted(p.name for p in pathlib.Path(folder.parent).iterdir()) == [
    'model'
  ]


def test_the_hub_is_no_target(folder, capsys):
  with pytest.raises(SystemExit, match='2'):
    cli.main(['convert', str(folder), 'hf://owner/name'])
  assert 'give a folder' in capsys.readouterr().err.splitlines()[-1]
