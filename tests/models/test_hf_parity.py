"""T5 1.1 against Hugging Face, random small weights, float32.

Vision towers, and the files themselves: tests/interop.
"""

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from vidlm.interop import leaves, t5_names
from vidlm.models import decoding
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import t5, t5_positions
from vidlm.nn.scan_layout import stack

pytestmark = pytest.mark.usefixtures('torchvision_operators')

VOCAB, LAYERS, HEADS, DIM = 64, 2, 4, 32


CONFIG = t5.T5Config(
  vocab_size=VOCAB,
  emb_dim=DIM,
  num_heads=HEADS,
  head_dim=8,
  num_encoder_layers=LAYERS,
  num_decoder_layers=LAYERS,
  mlp_dim=48,
  dtype='float32',
  remat_policy='none',
)


def randomise(model: torch.nn.Module) -> None:
  """Makes every parameter count, norms and biases too."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, p in model.named_parameters():
      noise = torch.randn(p.shape, generator=generator)
      norm = p.ndim == 1 and ('norm' in name and 'weight' in name)
      p.copy_(1.0 + 0.2 * noise if norm else 0.15 * noise)


def to_ours(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
  """By the library's table, layers numbered."""
  table = t5_names.table(CONFIG)
  known = {entry.theirs for entry in table.entries}
  theirs = {
    name: leaves.from_array(x.detach().numpy().copy())
    for name, x in tensors.items()
    if name in known
  }
  ours, _ = table.to_ours(theirs, 'transformers')
  return {name: np.asarray(leaf) for name, leaf in ours.items()}


@pytest.fixture(scope='module')
def hf_t5() -> 'transformers.T5ForConditionalGeneration':
  config = transformers.T5Config(
    vocab_size=VOCAB,
    d_model=DIM,
    d_kv=8,
    num_heads=HEADS,
    d_ff=48,
    num_layers=LAYERS,
    feed_forward_proj='gated-gelu',
    tie_word_embeddings=False,
    dropout_rate=0.0,
    decoder_start_token_id=0,
  )
  model = transformers.T5ForConditionalGeneration(config).eval()
  # transformers 5 ties the table whatever the config says, then skips scaling.
  model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
  randomise(model)
  # A random small model hardly looks at its inputs: make greedy text vary.
  with torch.no_grad():
    model.shared.weight.mul_(6.0)
    model.lm_head.weight.mul_(4.0)
  return model


@pytest.fixture(scope='module')
def params(hf_t5):
  flat = stack(to_ours(dict(hf_t5.state_dict())))
  flat = {name: jnp.asarray(x) for name, x in flat.items()}
  return flax.traverse_util.unflatten_dict(flat, sep='/')


@pytest.fixture(scope='module')
def tokens() -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  source = rng.integers(2, VOCAB, (3, 150))  # Beyond the last bucket.
  source[0, 100:] = 0
  target = rng.integers(2, VOCAB, (3, 10))
  shifted = np.pad(target, ((0, 0), (1, 0)))[:, :-1]
  return {'source': source, 'target': target, 'shifted': shifted}


def test_t5_relative_position_buckets() -> None:
  module = transformers.models.t5.modeling_t5.T5Attention
  distance = np.arange(-400, 401)
  for bidirectional in (True, False):
    want = module._relative_position_bucket(
      torch.tensor(distance), bidirectional=bidirectional
    )
    got = t5_positions.relative_position_bucket(
      jnp.asarray(distance)[None], bidirectional=bidirectional
    )
    np.testing.assert_array_equal(got[0], want.numpy())


def test_t5_logits(hf_t5, params, tokens) -> None:
  with torch.no_grad():
    want = hf_t5(
      input_ids=torch.tensor(tokens['source']),
      attention_mask=torch.tensor(tokens['source'] > 0).long(),
      decoder_input_ids=torch.tensor(tokens['shifted']),
    ).logits.numpy()
  got = jax.jit(t5.T5(CONFIG).apply)(
    {'params': params},
    jnp.asarray(tokens['source']),
    jnp.asarray(tokens['shifted']),
  )
  assert np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


def test_t5_gradient_step(hf_t5, params, tokens) -> None:
  """After one step of SGD all parameters are Hugging Face's."""
  rate = 0.1

  def loss(p):
    logits = t5.T5(CONFIG).apply(
      {'params': p},
      jnp.asarray(tokens['source']),
      jnp.asarray(tokens['shifted']),
    )
    logprobs = jax.nn.log_softmax(logits)
    target = jnp.asarray(tokens['target'])[..., None]
    return -jnp.take_along_axis(logprobs, target, axis=-1).mean()

  value, grads = jax.jit(jax.value_and_grad(loss))(params)
  hf_t5.zero_grad()
  out = hf_t5(
    input_ids=torch.tensor(tokens['source']),
    attention_mask=torch.tensor(tokens['source'] > 0).long(),
    labels=torch.tensor(tokens['target']),
  )
  out.loss.backward()
  theirs = dict(hf_t5.named_parameters())
  want = stack(to_ours({k: v.grad for k, v in theirs.items()}))
  hf_t5.zero_grad()
  assert abs(value - out.loss.item()) <= 1e-5 * out.loss.item()
  got = flax.traverse_util.flatten_dict(grads, sep='/')
  before = flax.traverse_util.flatten_dict(params, sep='/')
  assert got.keys() == want.keys()
  for name, grad in want.items():
    new, wanted = before[name] - rate * got[name], before[name] - rate * grad
    assert np.abs(new - wanted).max() <= 2e-5 * np.abs(wanted).max(), name
    scale = np.abs(grad).max()
    assert np.abs(got[name] - grad).max() <= 1e-3 * scale + 1e-7, name


def test_greedy_text_of_the_vlm_is_generate(hf_t5, params, tokens) -> None:
  """A clip without frames is a text model: visual tokens are masked out."""
  model = VideoVLM(
    CONFIG, '16,1,32,2/16', image_size=32, dtype='float32', scan=False
  )
  batch = {
    'frames': jnp.zeros((3, 1, 32, 32, 3), jnp.uint8),
    'frame_mask': jnp.zeros((3, 1), bool),
    'encoder_input_tokens': jnp.asarray(tokens['source'][:, :40]),
    'decoder_input_tokens': jnp.asarray(tokens['shifted']),
  }
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)['params']
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), nn.unbox(shapes))
  weights = {'img': zeros['img'], 'llm': params}
  greedy = jax.jit(decoding.greedy, static_argnames=('model', 'max_length'))
  got = greedy(model, weights, batch, max_length=12)
  source = torch.tensor(tokens['source'][:, :40])
  want = hf_t5.generate(
    input_ids=source,
    attention_mask=(source > 0).long(),
    max_new_tokens=12,
    num_beams=1,
    do_sample=False,
  ).numpy()[:, 1:]
  assert len(np.unique(want)) > 3
  np.testing.assert_array_equal(got.tokens[:, 0, : want.shape[1]], want)
