"""Outputs and gradients on this device, against float32 on the CPU."""

import dataclasses
from typing import Any

import flax.linen as nn
import gpu_parts
import jax
import numpy as np

from dualenc import objective as dualenc_objective
from vidlm.core import trees
from vidlm.models import objective

# bfloat16 products alone differ by 1e-3 to 1e-2; gradients, which pass through
# every layer twice and through a contrastive loss, by some times that.
OUTPUT_LIMIT = 0.03
GRADIENT_LIMIT = 0.1


def relative_error(out: Any, reference: Any) -> float:
  """||out - reference|| / ||reference|| in float64; NaN stays NaN."""
  out, reference = (np.asarray(x, np.float64) for x in (out, reference))
  return float(np.linalg.norm(out - reference) / np.linalg.norm(reference))


def check(options: gpu_parts.Options) -> dict[str, Any]:
  """Compares bfloat16 outputs and gradients here with float32 on the CPU.

  Full-width layers, two of each stack: the CPU should not take an hour.

  Returns:
    Relative errors by name, and whether all are below their limit.
  """
  size = 'miniature' if options.size == 'miniature' else 'medium'
  options = dataclasses.replace(options, size=size)
  reference = dataclasses.replace(
    options, vit_attention='xla', llm_attention='xla'
  )
  errors = {}
  tasks = {
    'vlm': (
      gpu_parts.vlm_objective(options, 'stage1'),
      gpu_parts.vlm_objective(reference, 'stage1', 'float32'),
    ),
    'dualenc': (
      dualenc_objective.DualEncoderObjective(gpu_parts.dual_encoder(options)),
      dualenc_objective.DualEncoderObjective(
        gpu_parts.dual_encoder(reference, 'float32')
      ),
    ),
  }
  for name, (ours, exact) in tasks.items():
    errors |= _compare(name, ours, exact)
  limits = {'outputs': OUTPUT_LIMIT, 'gradients': GRADIENT_LIMIT}
  ok = all(
    error < limits['gradients' if 'gradient' in name else 'outputs']
    for name, error in errors.items()  # NaN is below nothing.
  )
  return {'errors': errors, 'limits': limits, 'ok': ok}


def _compare(name: str, ours: Any, exact: Any) -> dict[str, float]:
  cpu = jax.devices('cpu')[0]
  shapes = ours.batch_shapes(2)
  vocab_size = 256
  batch = gpu_parts.random_batch(shapes, vocab_size)
  with jax.default_device(cpu):
    params = nn.unbox(jax.jit(exact.init)(jax.random.key(0)))
    expected = _outputs(exact, params, batch)
  device = jax.local_devices()[0]
  params = jax.device_put(params, device)
  found = _outputs(ours, params, jax.device_put(batch, device))
  return {f'{name}/{k}': relative_error(found[k], expected[k]) for k in found}


def _outputs(task: Any, params: Any, batch: Any) -> dict[str, np.ndarray]:
  """Outputs, the loss, and the gradient of each tower as one vector."""

  def forward(params, batch):
    if isinstance(task, objective.VLMObjective):
      return {'logits': task.model.apply({'params': params}, batch)}
    images, texts, _ = task.model.apply(
      {'params': params}, batch['frames'], batch['text']
    )
    return {'images': images, 'texts': texts}

  def loss(params, batch):
    return task.loss_fn(params, batch, jax.random.key(0))[0]

  def both(params, batch):
    value, grads = jax.value_and_grad(loss)(params, batch)
    return forward(params, batch) | {'loss': value}, grads

  out, grads = jax.jit(both)(params, batch)
  out = {k: np.asarray(v) for k, v in out.items()}
  for tower, subtree in grads.items():
    if isinstance(subtree, dict):
      leaves = [np.ravel(g) for g in trees.flatten(subtree).values()]
      out[f'gradient/{tower}'] = np.concatenate(leaves)
  return out
