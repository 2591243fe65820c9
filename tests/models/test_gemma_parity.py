"""Gemma 1, 2 and PaliGemma against Hugging Face: random weights, float32."""

import dataclasses
import functools

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from vidlm.interop import leaves, paligemma_config, registry
from vidlm.models import decoding
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import gemma, gemma_layers, scan_layout

pytestmark = pytest.mark.usefixtures('torchvision_operators')

VOCAB, IMAGE = 64, 63  # The last id stands for an image token.
TEXT = {
  'vocab_size': VOCAB,
  'hidden_size': 32,
  'intermediate_size': 48,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'num_key_value_heads': 1,
  'head_dim': 8,
}
# A window shorter than the texts; a scale that is not 1 / sqrt(head_dim).
TEXT2 = TEXT | {
  'num_key_value_heads': 2,
  'sliding_window': 7,
  'query_pre_attn_scalar': 11,
  'attn_logit_softcapping': 3.0,
  'final_logit_softcapping': 4.0,
}
KINDS = {'gemma': TEXT, 'gemma2': TEXT2}
FLOAT32 = {'dtype': 'float32', 'remat_policy': 'none'}
BOS, NEWLINE, EOS = 2, 3, 1


def randomise(model: torch.nn.Module) -> None:
  """Makes every parameter count, norms too, and greedy text vary."""
  generator = torch.Generator().manual_seed(0)
  with torch.no_grad():
    for name, p in model.named_parameters():
      noise = torch.randn(p.shape, generator=generator)
      # A tied table of large rows would say the last token again and again.
      p.copy_((0.06 if 'embed_tokens' in name else 0.35) * noise)


def state(model: torch.nn.Module) -> dict[str, np.ndarray]:
  return {k: v.detach().numpy() for k, v in model.state_dict().items()}


def imported(model: torch.nn.Module, config) -> dict[str, np.ndarray]:
  """A model in our names; of a Gemma alone without 'llm/'."""
  held = {name: leaves.from_array(x) for name, x in state(model).items()}
  table = registry.family(config, 'here').read_table(config, held)
  return {n: np.asarray(x) for n, x in table.to_ours(held, 'here')[0].items()}


def tree(flat: dict[str, np.ndarray]):
  flat = {k: jnp.asarray(v) for k, v in scan_layout.stack(flat).items()}
  return flax.traverse_util.unflatten_dict(flat, sep='/')


def assert_equal_logits(got, want) -> None:
  assert np.abs(got - want).max() <= 2e-5 * np.abs(want).max()


@functools.cache
def language_model(kind: str, kv_heads: int | None = None):
  """A Gemma alone, and the same in our names."""
  text = KINDS[kind] | ({'num_key_value_heads': kv_heads} if kv_heads else {})
  config_class, model_class = {
    'gemma': (transformers.GemmaConfig, transformers.GemmaForCausalLM),
    'gemma2': (transformers.Gemma2Config, transformers.Gemma2ForCausalLM),
  }[kind]
  config = config_class(**text, attn_implementation='eager')
  model = model_class(config).eval()
  randomise(model)
  theirs = config.to_dict()
  params = tree(imported(model, theirs))
  return (
    model,
    gemma.Gemma(paligemma_config.gemma_config(theirs, **FLOAT32)),
    (params),
  )


@pytest.mark.parametrize(
  ('kind', 'kv_heads'),
  [('gemma', None), ('gemma2', None), ('gemma', 4), ('gemma2', 4)],
)
def test_a_prefix_of_one_token_is_a_causal_model(kind, kv_heads) -> None:
  theirs, model, params = language_model(kind, kv_heads)
  tokens = np.random.default_rng(0).integers(4, VOCAB, (3, 24))
  with torch.no_grad():
    want = theirs(torch.tensor(tokens)).logits.numpy()
  got = jax.jit(model.apply)(
    {'params': params}, jnp.asarray(tokens[:, :1]), jnp.asarray(tokens)
  )
  assert_equal_logits(got, want)


@functools.cache
def vision_language_model(kind: str):
  """A PaliGemma with two frames a clip, and the same in our names."""
  config = transformers.PaliGemmaConfig(
    vision_config={
      'model_type': 'siglip_vision_model',
      'hidden_size': 32,
      'intermediate_size': 48,
      'num_hidden_layers': 2,
      'num_attention_heads': 4,
      'image_size': 16,
      'patch_size': 8,
      'vision_use_head': False,
    },
    text_config={'model_type': kind, **KINDS[kind]},
    projection_dim=32,
    image_token_index=IMAGE,
    attn_implementation='eager',
  )
  model = transformers.PaliGemmaForConditionalGeneration(config).eval()
  randomise(model)
  theirs = config.to_dict()
  params = tree(imported(model, theirs))
  ours = VideoVLM(
    **paligemma_config.model_fields(theirs, **FLOAT32),
    dtype='float32',
    remat_policy='none',
  )
  return model, ours, params


FRAMES, PATCHES, LENGTH = 2, 4, 9


def clips():
  """Three clips with prompts of different lengths, as both sides want them."""
  rng = np.random.default_rng(1)
  frames = rng.integers(0, 256, (3, FRAMES, 16, 16, 3), np.uint8)
  prompts = [[BOS, *rng.integers(4, IMAGE, n), NEWLINE] for n in (5, 1, 3)]
  targets = rng.integers(4, IMAGE, (3, LENGTH))
  inputs = np.zeros((3, 9), np.int32)
  for row, prompt in zip(inputs, prompts, strict=True):
    row[: len(prompt)] = prompt
  ours = {
    'frames': jnp.asarray(frames),
    'frame_mask': jnp.ones((3, FRAMES), bool),
    'encoder_input_tokens': jnp.asarray(inputs),
    'decoder_input_tokens': jnp.asarray(
      np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    ),
  }
  return frames, prompts, targets, ours


def hf_inputs(frames, prompts) -> dict[str, torch.Tensor]:
  """Image tokens and prompt, padded on the left as its processor does."""
  rows = [[IMAGE] * FRAMES * PATCHES + prompt for prompt in prompts]
  width = max(map(len, rows))
  ids = np.array([[0] * (width - len(row)) + row for row in rows])
  pixels = frames.reshape(-1, 16, 16, 3).transpose(0, 3, 1, 2)
  return {
    'input_ids': torch.tensor(ids),
    'attention_mask': torch.tensor(ids != 0).long(),
    'token_type_ids': torch.zeros(ids.shape, dtype=torch.long),
    'pixel_values': torch.tensor(pixels / np.float32(127.5) - 1.0),
  }


@pytest.mark.parametrize('kind', list(KINDS))
def test_prefix_lm_logits(kind) -> None:
  """Frames and a padded prompt both ways, targets causally."""
  theirs, model, params = vision_language_model(kind)
  frames, prompts, targets, batch = clips()
  inputs = hf_inputs(frames, prompts)
  suffix = torch.tensor(targets[:, :-1])
  ones = torch.ones_like(suffix)
  for name, value in (
    ('input_ids', suffix),
    ('attention_mask', ones),
    ('token_type_ids', ones),
  ):
    inputs[name] = torch.cat([inputs[name], value], dim=1)
  with torch.no_grad():
    want = theirs(**inputs).logits[:, -LENGTH:].numpy()
  got = jax.jit(model.apply)({'params': params}, batch)
  assert got.dtype == jnp.float32
  assert_equal_logits(got, want)


@pytest.mark.parametrize('kind', list(KINDS))
def test_greedy_text_is_generate(kind) -> None:
  theirs, model, params = vision_language_model(kind)
  frames, prompts, _, batch = clips()
  got = jax.jit(decoding.greedy, static_argnames=('model', 'max_length'))(
    model, params, batch, max_length=14
  )
  inputs = hf_inputs(frames, prompts)
  want = theirs.generate(
    **inputs,
    max_new_tokens=14,
    do_sample=False,
    eos_token_id=EOS,
    pad_token_id=0,
  ).numpy()[:, inputs['input_ids'].shape[1] :]
  assert len(np.unique(want)) > 5
  np.testing.assert_array_equal(got.tokens[:, 0, : want.shape[1]], want)


def test_bfloat16_rounds_where_hugging_face_does() -> None:
  """The embedding's factor and the norms, where sqrt(width) is not exact."""
  cfg = gemma.GemmaConfig(vocab_size=8, emb_dim=2048, num_layers=1)
  table = np.random.default_rng(0).normal(size=(8, 2048)).astype(np.float32)
  ids = np.arange(8)[None]
  got = gemma_layers.Embedder(cfg).apply(
    {'params': {'input_embedding': jnp.asarray(table)}}, jnp.asarray(ids)
  )
  module = transformers.models.gemma.modeling_gemma
  theirs = module.GemmaTextScaledWordEmbedding(8, 2048, 0, 2048**0.5)
  theirs.weight = torch.nn.Parameter(torch.tensor(table))
  theirs = theirs.to(torch.bfloat16)
  with torch.no_grad():
    want = theirs(torch.tensor(ids)).float().numpy()
  np.testing.assert_array_equal(np.asarray(got, np.float32), want)
  norm = module.GemmaRMSNorm(2048)
  scale = np.random.default_rng(1).normal(size=2048).astype(np.float32) * 0.3
  with torch.no_grad():
    norm.weight.copy_(torch.tensor(scale))
    norm = norm.to(torch.bfloat16)
    want = norm(torch.tensor(want).to(torch.bfloat16)).float().numpy()
  scale = jnp.asarray(scale, jnp.bfloat16)
  got = gemma_layers.RMSNorm(cfg).apply({'params': {'scale': scale}}, got)
  close = np.asarray(got, np.float32) == want
  assert close.mean() > 0.999  # One rounding may fall the other way.


def test_counts_of_the_published_models() -> None:
  """Parameters as Hugging Face counts them, without making any."""

  def count(llm) -> int:
    task = VLMObjective(VideoVLM(llm, 'So400m/14'))
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(shapes))

  one = gemma.GemmaConfig(vocab_size=257_216)
  assert count(one) == 2_923_466_480
  assert count(dataclasses.replace(one, vocab_size=257_152)) == 2_923_335_408
  two = paligemma_config.gemma_config(
    {'model_type': 'gemma2', 'vocab_size': 257_216}
  )
  assert count(two) == 3_032_242_416
