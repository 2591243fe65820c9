"""T5 1.1 and SigLIP against Hugging Face, random small weights, float32."""

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from vidlm import decoding
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import t5, t5_layers, vit
from vidlm.nn.scan_layout import stack

pytestmark = pytest.mark.usefixtures('torchvision_operators')

VOCAB, LAYERS, HEADS, DIM = 64, 2, 4, 32


def randomise(model: torch.nn.Module) -> None:
  """Makes every parameter count, norms and biases too."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, p in model.named_parameters():
      noise = torch.randn(p.shape, generator=generator)
      norm = p.ndim == 1 and ('norm' in name and 'weight' in name)
      p.copy_(1.0 + 0.2 * noise if norm else 0.15 * noise)


def t5_names() -> dict[str, tuple[str, bool]]:
  """Returns {our name: (their name, transposed)} of an untied T5 1.1."""
  names = {
    'token_embedder/embedding': ('shared.weight', False),
    'decoder/logits_dense/kernel': ('lm_head.weight', True),
  }
  attention = {'query': 'q', 'key': 'k', 'value': 'v', 'out': 'o'}
  for side in ('encoder', 'decoder'):
    first = f'{side}.block.0.layer.0.SelfAttention.relative_attention_bias'
    names[f'{side}/relpos_bias/rel_embedding'] = (f'{first}.weight', True)
    names[f'{side}/{side}_norm/scale'] = (
      f'{side}.final_layer_norm.weight',
      False,
    )
    parts = [('attention', 'SelfAttention')]
    if side == 'decoder':
      parts = [
        ('self_attention', 'SelfAttention'),
        ('encoder_decoder_attention', 'EncDecAttention'),
      ]
    norms = {
      'attention': 'pre_attention_layer_norm',
      'self_attention': 'pre_self_attention_layer_norm',
      'encoder_decoder_attention': 'pre_cross_attention_layer_norm',
    }
    for i in range(LAYERS):
      ours, theirs = f'{side}/layers_{i}', f'{side}.block.{i}.layer'
      for j, (part, module) in enumerate(parts):
        names[f'{ours}/{norms[part]}/scale'] = (
          f'{theirs}.{j}.layer_norm.weight',
          False,
        )
        for a, b in attention.items():
          names[f'{ours}/{part}/{a}/kernel'] = (
            f'{theirs}.{j}.{module}.{b}.weight',
            True,
          )
      last = f'{theirs}.{len(parts)}'
      names[f'{ours}/pre_mlp_layer_norm/scale'] = (
        f'{last}.layer_norm.weight',
        False,
      )
      for a in ('wi_0', 'wi_1', 'wo'):
        names[f'{ours}/mlp/{a}/kernel'] = (
          f'{last}.DenseReluDense.{a}.weight',
          True,
        )
  return names


def to_ours(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
  flat = {}
  for ours, (theirs, transposed) in t5_names().items():
    x = tensors[theirs].detach().numpy().copy()
    flat[ours] = x.T if transposed else x
  return flat


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
    got = t5_layers.relative_position_bucket(
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


def siglip_params(state: dict[str, np.ndarray], width: int, heads: int):
  """Maps a SiglipVisionModel to big_vision's names."""
  state = {k.removeprefix('vision_model.'): v for k, v in state.items()}
  into = lambda x: x.T.reshape(width, heads, -1)
  out_of = lambda x: x.T.reshape(heads, -1, width)

  def norm(ours, theirs):
    return {
      f'{ours}/scale': state[f'{theirs}.weight'],
      f'{ours}/bias': state[f'{theirs}.bias'],
    }

  def mlp(ours, theirs):
    flat = {}
    for i, name in enumerate(('fc1', 'fc2')):
      flat[f'{ours}/Dense_{i}/kernel'] = state[f'{theirs}.{name}.weight'].T
      flat[f'{ours}/Dense_{i}/bias'] = state[f'{theirs}.{name}.bias']
    return flat

  flat = {
    'embedding/kernel': state['embeddings.patch_embedding.weight'].transpose(
      2, 3, 1, 0
    ),
    'embedding/bias': state['embeddings.patch_embedding.bias'],
    'pos_embedding': state['embeddings.position_embedding.weight'][None],
    'MAPHead_0/probe': state['head.probe'],
    **norm('Transformer/encoder_norm', 'post_layernorm'),
    **norm('MAPHead_0/LayerNorm_0', 'head.layernorm'),
    **mlp('MAPHead_0/MlpBlock_0', 'head.mlp'),
  }
  attention = 'MultiHeadDotProductAttention_0'
  for i in range(LAYERS):
    ours, theirs = f'Transformer/encoderblock_{i}', f'encoder.layers.{i}'
    flat |= norm(f'{ours}/LayerNorm_0', f'{theirs}.layer_norm1')
    flat |= norm(f'{ours}/LayerNorm_1', f'{theirs}.layer_norm2')
    flat |= mlp(f'{ours}/MlpBlock_0', f'{theirs}.mlp')
    for a, b in zip(('query', 'key', 'value'), 'qkv', strict=True):
      p = f'{theirs}.self_attn.{b}_proj'
      flat[f'{ours}/{attention}/{a}/kernel'] = into(state[f'{p}.weight'])
      flat[f'{ours}/{attention}/{a}/bias'] = state[f'{p}.bias'].reshape(
        heads, -1
      )
    p = f'{theirs}.self_attn.out_proj'
    flat[f'{ours}/{attention}/out/kernel'] = out_of(state[f'{p}.weight'])
    flat[f'{ours}/{attention}/out/bias'] = state[f'{p}.bias']
  weights = np.split(state['head.attention.in_proj_weight'], 3)
  biases = np.split(state['head.attention.in_proj_bias'], 3)
  head = f'MAPHead_0/{attention}'
  for a, w, b in zip(('query', 'key', 'value'), weights, biases, strict=True):
    flat[f'{head}/{a}/kernel'] = into(w)
    flat[f'{head}/{a}/bias'] = b.reshape(heads, -1)
  flat[f'{head}/out/kernel'] = out_of(state['head.attention.out_proj.weight'])
  flat[f'{head}/out/bias'] = state['head.attention.out_proj.bias']
  return flax.traverse_util.unflatten_dict(flat, sep='/')


def test_siglip_features() -> None:
  config = transformers.SiglipVisionConfig(
    hidden_size=DIM,
    intermediate_size=48,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    image_size=32,
    patch_size=8,
  )
  theirs = transformers.SiglipVisionModel(config).eval()
  randomise(theirs)
  images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3))
  images = images.astype(np.float32)
  with torch.no_grad():
    want = theirs(torch.tensor(images.transpose(0, 3, 1, 2)))
  state = {k: v.numpy() for k, v in theirs.state_dict().items()}
  model = vit.ViT(
    f'{DIM},{LAYERS},48,{HEADS}/8',
    image_size=32,
    pool_type='map',
    scan=False,
    dtype='float32',
  )
  got, out = jax.jit(model.apply)(
    {'params': siglip_params(state, DIM, HEADS)}, jnp.asarray(images)
  )
  for a, b in [
    (out['encoded'], want.last_hidden_state.numpy()),
    (got, want.pooler_output.numpy()),
  ]:
    assert np.abs(a - b).max() <= 2e-5 * np.abs(b).max()
