"""A small random CLIP of open_clip, and its weights under our names."""

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

SIZE, PATCH, WIDTH, DEPTH, HEADS = 32, 16, 128, 2, 2
TEXT_WIDTH, TEXT_DEPTH, TEXT_HEADS = 64, 3, 4
VOCAB, CONTEXT, EMBED, FRAMES = 96, 12, 24, 4


@pytest.fixture(scope='session')
def open_clip(torchvision_operators: None) -> Any:
  return pytest.importorskip('open_clip')


@pytest.fixture(scope='session')
def clip(open_clip: Any) -> Any:
  """open_clip's CLIP in which every parameter counts."""
  import torch
  from open_clip import model as model_lib

  torch.manual_seed(0)
  model = model_lib.CLIP(
    EMBED,
    model_lib.CLIPVisionCfg(
      layers=DEPTH,
      width=WIDTH,
      head_width=WIDTH // HEADS,
      patch_size=PATCH,
      image_size=SIZE,
    ),
    model_lib.CLIPTextCfg(
      context_length=CONTEXT,
      vocab_size=VOCAB,
      width=TEXT_WIDTH,
      heads=TEXT_HEADS,
      layers=TEXT_DEPTH,
    ),
    quick_gelu=True,
  )
  with torch.no_grad():
    for name, p in model.named_parameters():
      if p.ndim:
        p.add_(0.1 * torch.randn_like(p) * (1 if 'ln' in name else 0.5))
  return model.eval()


@pytest.fixture(scope='session')
def make_towers() -> Callable[..., Any]:
  """Returns our model of the same shape, in float32."""
  from dualenc.models import text, two_towers, vit_st

  def make(**kwargs: Any) -> two_towers.TwoTowers:
    common = {'embed_dim': EMBED, 'dtype': 'float32', **kwargs}
    return two_towers.TwoTowers(
      img=vit_st.ViTST(
        f'{WIDTH},{DEPTH},{4 * WIDTH},{HEADS}/{PATCH}',
        num_frames=FRAMES,
        image_size=SIZE,
        **common,
      ),
      txt=text.TextTransformer(
        width=TEXT_WIDTH,
        depth=TEXT_DEPTH,
        num_heads=TEXT_HEADS,
        vocab_size=VOCAB,
        context_length=CONTEXT,
        **common,
      ),
    )

  return make


@pytest.fixture(scope='session')
def clip_params(clip: Any) -> dict[str, np.ndarray]:
  """Its weights by our names, layers stacked, temporal embedding zero."""
  return rename({k: v.numpy() for k, v in clip.state_dict().items()})


@pytest.fixture(scope='session')
def rename_clip() -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
  return rename


@pytest.fixture(scope='session')
def run() -> Callable[..., Any]:
  """Applies a model to flat parameters; compiled once a model and shape."""
  import functools

  import jax

  from vidlm.core import trees

  @functools.partial(jax.jit, static_argnums=0)
  def apply(model: Any, params: Any, *args: Any) -> Any:
    zimg, ztxt, out = model.apply({'params': params}, *args)
    return zimg, ztxt, {k: out[k] for k in ('t', 'img/stem') if k in out}

  def run_flat(model: Any, flat: dict[str, Any], *args: Any) -> Any:
    with jax.default_matmul_precision('highest'):
      return apply(model, trees.unflatten(flat), *args)

  return run_flat


@pytest.fixture(scope='session')
def random_params() -> Callable[[Any], dict[str, Any]]:
  """Parameters for an objective or a model's init, without compiling it."""
  import flax.linen as nn
  import jax
  import jax.numpy as jnp

  def fill(init: Callable[..., Any], *args: Any) -> dict[str, Any]:
    abstract = nn.meta.unbox(jax.eval_shape(init, jax.random.key(0), *args))
    rng = np.random.default_rng(0)

    def leaf(path: Any, x: Any) -> Any:
      value = 0.3 * rng.normal(size=x.shape) / max(1, x.shape[-1]) ** 0.5
      name = jax.tree_util.keystr(path)
      if name.endswith("['t']"):
        value = value + 2.6
      elif name.endswith("['scale']"):
        value = value + 1.0
      return jnp.asarray(value, x.dtype)

    return jax.tree_util.tree_map_with_path(leaf, abstract)

  return fill


@pytest.fixture(scope='session')
def batch() -> types.SimpleNamespace:
  """Five clips and texts; the texts end at different places."""
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (5, FRAMES, SIZE, SIZE, 3)).astype(np.uint8)
  text = np.zeros((5, CONTEXT), np.int32)
  for i, length in enumerate([3, 12, 5, 7, 4]):
    text[i, :length] = rng.integers(1, VOCAB - 1, length)
    text[i, length - 1] = VOCAB - 1
  return types.SimpleNamespace(frames=frames, text=text)


def rename(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """OpenAI's names to ours, layers stacked, temporal embedding zero."""
  from vidlm.interop import clip_names, leaves, openai_names
  from vidlm.nn import scan_layout

  shape = clip_names.Shape(
    variant=f'{WIDTH},{DEPTH},{4 * WIDTH},{HEADS}/{PATCH}',
    image_size=SIZE,
    width=TEXT_WIDTH,
    depth=TEXT_DEPTH,
    num_heads=TEXT_HEADS,
    mlp_dim=4 * TEXT_WIDTH,
    vocab_size=VOCAB,
    context_length=CONTEXT,
    embed_dim=EMBED,
  )
  theirs = {name: leaves.from_array(x) for name, x in state.items()}
  ours, _ = openai_names.table(shape).to_ours(theirs, 'open_clip')
  flat = scan_layout.stack(ours, leaves.join)
  flat = {name: np.asarray(x) for name, x in flat.items()}
  flat['img/temporal_embedding'] = np.zeros((1, FRAMES, WIDTH), np.float32)
  return flat
