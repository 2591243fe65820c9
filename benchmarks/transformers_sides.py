"""The sides of against_transformers.py: what transformers runs, what we run.

A side of a case is a function (folder, sizes) -> (run, check): `run` does the
work once, `check` gives numbers that must be the other side's. Only the side
that runs is imported: peak memory is its own.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from transformers_cases import (
  IMAGE_TOKEN,
  SAMPLES,
  TEMPERATURE,
  TOP_P,
  Sizes,
  import_transformers,
  inputs,
)

Side = tuple[Callable[[], Any], Callable[[], list[float]]]


def their_vit(folder: pathlib.Path, sizes: Sizes) -> Side:
  """Forward and backward of SiglipVisionModel."""
  import torch

  hf = import_transformers()
  model = hf.SiglipVisionModel.from_pretrained(folder).eval()
  arrays = inputs('vit', sizes)
  pixels = torch.tensor(arrays['pixels'].transpose(0, 3, 1, 2).copy())
  weights = torch.tensor(arrays['weights'])

  def loss() -> Any:
    return (model(pixels).pooler_output * weights).sum()

  return _their_step(model, loss)


def their_t5(folder: pathlib.Path, sizes: Sizes) -> Side:
  """Forward and backward of T5ForConditionalGeneration."""
  import torch

  hf = import_transformers()
  model = hf.T5ForConditionalGeneration.from_pretrained(folder).eval()
  arrays = {k: torch.tensor(v) for k, v in inputs('t5', sizes).items()}
  mask = torch.ones_like(arrays['source'])

  def loss() -> Any:
    return model(
      input_ids=arrays['source'],
      attention_mask=mask,
      labels=arrays['target'],
      use_cache=False,
    ).loss

  return _their_step(model, loss)


def _their_step(model: Any, loss: Callable[[], Any]) -> Side:
  def run() -> float:
    model.zero_grad(set_to_none=True)
    value = loss()
    value.backward()
    return float(value.detach())

  def check() -> list[float]:
    value = run()
    squares = sum(
      float(p.grad.double().square().sum())
      for p in model.parameters()
      if p.grad is not None
    )
    return [value, squares**0.5]

  return run, check


def their_captions(folder: pathlib.Path, sizes: Sizes) -> Side:
  """PaliGemmaForConditionalGeneration.generate, K sequences a clip."""
  import torch

  hf = import_transformers()
  model = hf.PaliGemmaForConditionalGeneration.from_pretrained(folder).eval()
  model.generation_config.eos_token_id = None  # every caption takes all steps
  arrays = inputs('captions', sizes)
  frames = arrays['frames'].reshape(-1, *arrays['frames'].shape[2:])
  pixels = frames.transpose(0, 3, 1, 2) / np.float32(127.5) - 1.0
  patches = (sizes.vision['image_size'] // sizes.vision['patch_size']) ** 2
  images = np.full((sizes.clips, sizes.frames * patches), IMAGE_TOKEN)
  ids = torch.tensor(np.concatenate([images, arrays['prompt']], axis=1))
  batch = {
    'input_ids': ids,
    'attention_mask': torch.ones_like(ids),
    'token_type_ids': torch.zeros_like(ids),
    'pixel_values': torch.tensor(pixels),
    'pad_token_id': 0,
    'max_new_tokens': sizes.caption,
  }

  def generate(**options: Any) -> np.ndarray:
    with torch.inference_mode():
      tokens = model.generate(**batch, **options)
    return tokens[:, ids.shape[1] :].numpy()

  def run() -> np.ndarray:
    return generate(
      do_sample=True,
      top_k=0,
      top_p=TOP_P,
      temperature=TEMPERATURE,
      num_return_sequences=SAMPLES,
    )

  return run, lambda: generate(do_sample=False).ravel().tolist()


def _placed(folder: pathlib.Path, wanted: Any) -> Any:
  """Weights through the project's own readers, as the model wants them."""
  import flax.linen as nn
  import jax

  from vidlm.core import trees
  from vidlm.interop import fitting, weights

  flat = trees.flatten(nn.unbox(wanted)['params'])
  return jax.device_put(fitting.fit_all(weights.assemble(str(folder)), flat))


def our_vit(folder: pathlib.Path, sizes: Sizes) -> Side:
  """Forward and backward of our ViT."""
  import jax
  import jax.numpy as jnp

  from vidlm.interop import siglip_names
  from vidlm.nn import vit

  arrays = inputs('vit', sizes)
  model = vit.ViT(
    siglip_names.variant(sizes.vit),
    sizes.vit['image_size'],
    pool_type='map',
    scan=False,
    remat_policy='none',
    dtype='float32',
  )
  pixels = jnp.asarray(arrays['pixels'])
  params = _placed(
    folder, jax.eval_shape(model.init, jax.random.key(0), pixels)
  )

  def loss(params: Any, pixels: Any, weights: Any) -> Any:
    return (model.apply({'params': params}, pixels)[0] * weights).sum()

  return _our_step(loss, params, pixels, jnp.asarray(arrays['weights']))


def our_t5(folder: pathlib.Path, sizes: Sizes) -> Side:
  """Forward and backward of our T5, with the loss of transformers'."""
  import jax
  import jax.numpy as jnp
  from etils import epath

  from vidlm.interop import huggingface, t5_names
  from vidlm.nn import t5

  config = huggingface.read_config(epath.Path(folder))
  model = t5.T5(
    t5_names.model_config(
      config, dtype='float32', remat_policy='none', scan_layers=False
    )
  )
  arrays = {
    k: jnp.asarray(v, jnp.int32) for k, v in inputs('t5', sizes).items()
  }
  source, target = arrays['source'], arrays['target']
  shifted = jnp.pad(target, ((0, 0), (1, 0)))[:, :-1]
  params = _placed(
    folder, jax.eval_shape(model.init, jax.random.key(0), source, shifted)
  )

  def loss(params: Any, source: Any, shifted: Any, target: Any) -> Any:
    logits = model.apply({'params': params}, source, shifted)
    logprobs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logprobs, target[..., None], axis=-1).mean()

  return _our_step(loss, params, source, shifted, target)


def _our_step(loss: Callable[..., Any], params: Any, *batch: Any) -> Side:
  import jax

  step = jax.jit(jax.value_and_grad(loss))

  def run() -> float:
    value, _ = jax.block_until_ready(step(params, *batch))
    return float(value)

  def check() -> list[float]:
    value, grads = step(params, *batch)
    squares = sum(
      float((np.asarray(g, np.float64) ** 2).sum())
      for g in jax.tree.leaves(grads)
    )
    return [float(value), squares**0.5]

  return run, check


def our_captions(folder: pathlib.Path, sizes: Sizes) -> Side:
  """`decoding.sample`, R samples a clip."""
  import jax
  import jax.numpy as jnp

  from vidlm.interop import huggingface
  from vidlm.models import decoding, samplers
  from vidlm.models.video_vlm import VideoVLM

  found = huggingface.paligemma(str(folder))
  plain = {'dtype': 'float32', 'remat_policy': 'none'}
  model = VideoVLM(
    dataclasses.replace(found.llm, scan_layers=False, **plain),
    found.img.variant,
    found.img.image_size,
    scan=False,
    **plain,
  )
  arrays = inputs('captions', sizes)
  batch = {
    'frames': jnp.asarray(arrays['frames']),
    'frame_mask': jnp.ones(arrays['frames'].shape[:2], bool),
    'encoder_input_tokens': jnp.asarray(arrays['prompt'], jnp.int32),
    'decoder_input_tokens': jnp.zeros((sizes.clips, sizes.caption), jnp.int32),
  }
  params = _placed(folder, jax.eval_shape(model.init, jax.random.key(0), batch))
  ids = jnp.arange(sizes.clips, dtype=jnp.uint32)
  keys = decoding.sample_keys(0, ids, SAMPLES)

  @jax.jit
  def sample(params: Any, batch: Any, keys: Any) -> Any:
    return decoding.sample(
      model,
      params,
      batch,
      sampler=samplers.Nucleus(TOP_P, TEMPERATURE),
      num_samples=SAMPLES,
      max_length=sizes.caption,
      keys=keys,
    )

  @jax.jit
  def greedy(params: Any, batch: Any) -> Any:
    return decoding.greedy(model, params, batch, max_length=sizes.caption)

  return (
    lambda: np.asarray(sample(params, batch, keys).tokens),
    lambda: np.asarray(greedy(params, batch).tokens).ravel().tolist(),
  )


SIDES: dict[tuple[str, str], Callable[[pathlib.Path, Sizes], Side]] = {
  ('vit', 'ours'): our_vit,
  ('vit', 'transformers'): their_vit,
  ('t5', 'ours'): our_t5,
  ('t5', 'transformers'): their_t5,
  ('captions', 'ours'): our_captions,
  ('captions', 'transformers'): their_captions,
}
