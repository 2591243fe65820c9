"""Small random models of transformers, on disk as it saves them."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

VOCAB, LAYERS, HEADS, DIM = 64, 2, 4, 32
SIZE, PATCH = 32, 8


@pytest.fixture(autouse=True, scope='package')
def quick_compilation():
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


def randomise(model: Any) -> None:
  """Makes every parameter count, norms and biases too."""
  import torch

  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, p in model.named_parameters():
      noise = torch.randn(p.shape, generator=generator)
      norm = p.ndim == 1 and 'norm' in name and 'weight' in name
      p.copy_(1.0 + 0.2 * noise if norm else 0.15 * noise)


@pytest.fixture(scope='session')
def hf(torchvision_operators: None) -> Any:
  return pytest.importorskip('transformers')


@pytest.fixture(scope='session')
def make_t5(hf: Any) -> Callable[..., Any]:
  """Makes a T5; `untied` has logits of its own, as T5 1.1."""
  import torch

  def make(untied: bool = True, **options: Any) -> Any:
    config = hf.T5Config(
      vocab_size=VOCAB,
      d_model=DIM,
      d_kv=8,
      num_heads=HEADS,
      d_ff=48,
      num_layers=LAYERS,
      tie_word_embeddings=not untied,
      dropout_rate=0.0,
      decoder_start_token_id=0,
      **{'feed_forward_proj': 'gated-gelu', **options},
    )
    model = hf.T5ForConditionalGeneration(config).eval()
    if untied:
      # transformers 5 ties the table whatever the config says.
      model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    randomise(model)
    # A random small model hardly looks at its inputs: make greedy text vary.
    with torch.no_grad():
      model.shared.weight.mul_(6.0)
      if untied:
        model.lm_head.weight.mul_(4.0)
    return model

  return make


@pytest.fixture(scope='session')
def hf_t5(make_t5: Callable[..., Any]) -> Any:
  return make_t5()


@pytest.fixture(scope='session')
def hf_umt5(hf: Any) -> Any:
  """Positions in every layer, each of its own."""
  import torch

  config = hf.UMT5Config(
    vocab_size=VOCAB,
    d_model=DIM,
    d_kv=8,
    num_heads=HEADS,
    d_ff=48,
    num_layers=LAYERS,
  )
  model = hf.UMT5ForConditionalGeneration(config).eval()
  randomise(model)
  with torch.no_grad():
    model.shared.weight.mul_(6.0)
  return model


@pytest.fixture(scope='session')
def t5_folder(hf_t5: Any, tmp_path_factory: Any) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('t5')
  hf_t5.save_pretrained(folder)
  return folder


@pytest.fixture(scope='session')
def hf_siglip(hf: Any) -> Any:
  config = hf.SiglipVisionConfig(
    hidden_size=DIM,
    intermediate_size=48,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    image_size=SIZE,
    patch_size=PATCH,
  )
  model = hf.SiglipVisionModel(config).eval()
  randomise(model)
  return model


@pytest.fixture(scope='session')
def siglip_folder(hf_siglip: Any, tmp_path_factory: Any) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('siglip')
  hf_siglip.save_pretrained(folder)
  return folder


@pytest.fixture(scope='session')
def hf_clip(hf: Any) -> Any:
  config = hf.CLIPConfig(
    text_config={
      'vocab_size': 96,
      'hidden_size': DIM,
      'intermediate_size': 64,
      'num_hidden_layers': 3,
      'num_attention_heads': HEADS,
      'max_position_embeddings': 12,
      'eos_token_id': 95,
      'bos_token_id': 94,
      'pad_token_id': 0,
    },
    vision_config={
      'hidden_size': 48,
      'intermediate_size': 96,
      'num_hidden_layers': LAYERS,
      'num_attention_heads': 3,
      'image_size': SIZE,
      'patch_size': 16,
    },
    projection_dim=24,
  )
  model = hf.CLIPModel(config).eval()
  randomise(model)
  import torch

  with torch.no_grad():
    model.logit_scale.fill_(2.0)
  return model


@pytest.fixture(scope='session')
def clip_folder(hf_clip: Any, tmp_path_factory: Any) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('clip')
  hf_clip.save_pretrained(folder)
  return folder


@pytest.fixture(scope='session')
def config_of() -> Callable[[pathlib.Path], dict[str, Any]]:
  return lambda folder: json.loads((folder / 'config.json').read_text())


@pytest.fixture(scope='session')
def nested() -> Callable[[Any], dict[str, Any]]:
  """Weights as nested arrays, layers stacked."""
  from vidlm.core import trees
  from vidlm.interop import leaves
  from vidlm.nn import scan_layout

  def read(weights: Any) -> dict[str, Any]:
    flat = scan_layout.stack(weights.leaves, leaves.join)
    return trees.unflatten({n: np.asarray(x) for n, x in flat.items()})

  return read


@pytest.fixture(scope='session')
def images() -> np.ndarray:
  rng = np.random.default_rng(0)
  return rng.uniform(-1, 1, (2, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope='session')
def tokens() -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  source = rng.integers(2, VOCAB, (3, 150))  # beyond the last bucket
  source[0, 100:] = 0
  target = rng.integers(2, VOCAB, (3, 10))
  shifted = np.pad(target, ((0, 0), (1, 0)))[:, :-1]
  return {'source': source, 'target': target, 'shifted': shifted}
