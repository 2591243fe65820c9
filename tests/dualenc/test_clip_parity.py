"""The towers and the loss against open_clip, small random weights, float32."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dualenc.models import vit_st
from dualenc.objective import DualEncoderObjective
from vidlm.core import trees

torch = pytest.importorskip('torch')


def normalized(frames: np.ndarray) -> Any:
  """One frame a clip, as open_clip's towers take it: [B, 3, H, W]."""
  x = (frames / 255 - vit_st.CLIP_MEAN) / np.array(vit_st.CLIP_STD)
  return torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float32)


def test_names_and_shapes(make_towers, clip_params, batch):
  abstract = jax.eval_shape(
    make_towers().init,
    jax.random.key(0),
    jnp.asarray(batch.frames),
    jnp.asarray(batch.text),
  )
  shapes = jax.tree.map(jnp.shape, trees.unflatten(clip_params))
  unboxed = nn.meta.unbox(abstract)['params']
  assert trees.flatten(shapes) == trees.flatten(
    jax.tree.map(lambda x: x.shape, unboxed)
  )


def test_embeddings_and_similarity(run, clip, make_towers, clip_params, batch):
  """T=1 is the image tower of CLIP; and the text tower is CLIP's."""
  frames = batch.frames[:, :1]
  zimg, ztxt, out = run(
    make_towers(), clip_params, jnp.asarray(frames), jnp.asarray(batch.text)
  )
  with torch.no_grad():
    image = clip.encode_image(normalized(frames[:, 0]), normalize=True)
    text = clip.encode_text(torch.tensor(batch.text), normalize=True)
    scale = clip.logit_scale.exp()
  np.testing.assert_allclose(zimg, image, atol=2e-5)
  np.testing.assert_allclose(ztxt, text, atol=2e-5)
  np.testing.assert_allclose(zimg @ ztxt.T, image @ text.T, atol=2e-5)
  np.testing.assert_allclose(out['t'], scale, rtol=1e-6)
  assert np.std(np.asarray(zimg @ ztxt.T)) > 0.02  # Not all the same.


def test_loss_and_gradients(open_clip, clip, make_towers, clip_params, batch):
  from open_clip.loss import ClipLoss

  frames = batch.frames[:, :1]
  objective = DualEncoderObjective(make_towers())
  arrays = {'frames': jnp.asarray(frames), 'text': jnp.asarray(batch.text)}
  with jax.default_matmul_precision('highest'):
    step = jax.jit(jax.value_and_grad(objective.loss_fn, has_aux=True))
    (loss, metrics), gradients = step(
      trees.unflatten(clip_params), arrays, jax.random.key(0)
    )
  clip.zero_grad()
  expected = ClipLoss()(
    *clip(normalized(frames[:, 0]), torch.tensor(batch.text))
  )
  expected.backward()
  expected = expected.item()
  assert loss == pytest.approx(expected, abs=2e-5)
  assert metrics['loss'] == loss
  gradients = trees.flatten(gradients)
  block = 'Transformer/encoderblock/MlpBlock_0/Dense_0/kernel'
  theirs = {
    't': clip.logit_scale.grad.reshape(1),
    'img/head/kernel': clip.visual.proj.grad,
    'img/pos_embedding': clip.visual.positional_embedding.grad[None],
    'txt/Embed_0/embedding': clip.token_embedding.weight.grad,
    f'img/{block}': torch.stack(
      [b.mlp.c_fc.weight.grad.T for b in clip.visual.transformer.resblocks]
    ),
  }
  for name, value in theirs.items():
    value = value.numpy()
    np.testing.assert_allclose(
      gradients[name], value, atol=2e-4 * np.abs(value).max(), err_msg=name
    )


def test_quick_gelu_matters(run, clip_params, make_towers, batch):
  """So the parity above would notice AVION's GELU."""
  args = (jnp.asarray(batch.frames), jnp.asarray(batch.text))
  quick, _, _ = run(make_towers(), clip_params, *args)
  exact, _, _ = run(make_towers(activation='gelu'), clip_params, *args)
  assert np.abs(quick - exact).max() > 1e-4
