"""CLIPModel's folders and openai/CLIP's names, read as a dual encoder."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from dualenc import objective as objective_lib
from dualenc import restored
from dualenc.models import vit_st
from vidlm import train
from vidlm.commands import plan
from vidlm.core import launch, trees
from vidlm.interop import fitting, huggingface, safetensors_format, weights
from vidlm.interop import leaves as leaves_lib
from vidlm.training import step

FLOAT32 = {'dtype': 'float32', 'remat_policy': 'none'}


@pytest.fixture(scope='module')
def hf_clip(torchvision_operators):
  import torch

  hf = pytest.importorskip('transformers')
  config = hf.CLIPConfig(
    text_config={
      'vocab_size': 96,
      'hidden_size': 32,
      'intermediate_size': 64,
      'num_hidden_layers': 3,
      'num_attention_heads': 4,
      'max_position_embeddings': 12,
      'eos_token_id': 95,
      'bos_token_id': 94,
      'pad_token_id': 0,
    },
    vision_config={
      'hidden_size': 48,
      'intermediate_size': 96,
      'num_hidden_layers': 2,
      'num_attention_heads': 3,
      'image_size': 32,
      'patch_size': 16,
    },
    projection_dim=24,
  )
  torch.manual_seed(0)
  model = hf.CLIPModel(config).eval()
  with torch.no_grad():
    for p in model.parameters():
      p.add_(0.1 * torch.randn_like(p))
    model.logit_scale.fill_(2.0)
  return model


def load(folder):
  shape = huggingface.clip_shape(str(folder))
  model = restored.clip_model(shape, **FLOAT32)
  objective = objective_lib.DualEncoderObjective(model)
  params = fitting.load_params(
    str(folder),
    lambda: step.parameter_shapes(objective),
    zeros=['img/temporal_embedding'],
  )
  return model, params


def test_clip_model(hf_clip, batch, tmp_path):
  """One frame: embeddings and similarities are CLIPModel's."""
  import torch

  hf_clip.save_pretrained(tmp_path)
  model, params = load(tmp_path)
  frames = batch.frames[:, :1]
  pixels = vit_st.normalize(
    jnp.asarray(frames[:, 0]), vit_st.CLIP_MEAN, vit_st.CLIP_STD
  )
  with torch.no_grad():
    want = hf_clip(
      input_ids=torch.tensor(batch.text),
      pixel_values=torch.tensor(np.asarray(pixels).transpose(0, 3, 1, 2)),
    )
  zimg, ztxt, out = jax.jit(model.apply)(
    {'params': params}, jnp.asarray(frames), jnp.asarray(batch.text)
  )
  logits = out['t'] * ztxt @ zimg.T
  for got, wanted in (
    (zimg, want.image_embeds),
    (ztxt, want.text_embeds),
    (logits, want.logits_per_text),
  ):
    wanted = wanted.numpy()
    assert np.abs(got - wanted).max() <= 2e-5 * np.abs(wanted).max()


def test_openai_names_say_the_sizes(clip, tmp_path):
  state = {k: v.numpy() for k, v in clip.state_dict().items()}
  state['input_resolution'] = np.asarray(32)
  path = tmp_path / 'clip.safetensors'
  safetensors_format.write(
    path, {k: leaves_lib.from_array(v) for k, v in state.items()}
  )
  shape = huggingface.clip_shape(str(path))
  assert shape.variant == '128,2,512,2/16'
  assert (shape.image_size, shape.width, shape.depth) == (32, 64, 3)
  assert (shape.vocab_size, shape.context_length, shape.embed_dim) == (
    96,
    12,
    24,
  )
  found = weights.open_weights(str(path))
  assert found.leaves[
    'img/Transformer/encoderblock_1/MlpBlock_0/Dense_0/kernel'
  ].shape == (128, 512)
  assert np.asarray(found.leaves['t']).shape == (1,)


def test_published_sizes_are_ours():
  """The config.json of OpenAI's three, as far as it differs from defaults."""
  from vidlm.interop import clip_names

  b32 = clip_names.shape({'projection_dim': 512})
  assert b32.variant == '768,12,3072,12/32'
  large = clip_names.shape(
    {
      'projection_dim': 768,
      'text_config': {
        'hidden_size': 768,
        'intermediate_size': 3072,
        'num_attention_heads': 12,
        'eos_token_id': 2,
      },
      'vision_config': {
        'hidden_size': 1024,
        'intermediate_size': 4096,
        'num_attention_heads': 16,
        'num_hidden_layers': 24,
        'patch_size': 14,
      },
    }
  )
  assert large.variant == '1024,24,4096,16/14'
  assert large.eos_id is None
  for shape in (b32, large):
    assert clip_names.shape(clip_names.to_config(shape)) == shape


def test_more_frames_take_a_resampled_or_fresh_embedding(hf_clip, tmp_path):
  hf_clip.save_pretrained(tmp_path)
  found = weights.assemble(str(tmp_path))
  shape = huggingface.clip_shape(str(tmp_path))
  wanted = {
    name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    for name, leaf in found.leaves.items()
  }
  wanted['img/temporal_embedding'] = jax.ShapeDtypeStruct((1, 4, 48), 'float32')
  wanted['img/pos_embedding'] = jax.ShapeDtypeStruct((1, 10, 48), 'float32')
  fitted = fitting.fit(found, wanted)
  assert fitted.fresh == ['img/temporal_embedding']
  assert fitted.resampled == ['img/pos_embedding [1, 5, 48] -> [1, 10, 48]']
  assert shape.image_size == 32
  value = np.asarray(fitted.leaves['img/pos_embedding'])
  old = np.asarray(found.leaves['img/pos_embedding'])
  np.testing.assert_array_equal(value[:, [0, 1, -1]], old[:, [0, 1, -1]])


@pytest.mark.parametrize('frames', [1, 4])
def test_run_as_clip_model(frames, hf_clip, batch, tmp_path):
  """A trained dual encoder of one frame is a CLIPModel, PE_t and all.

  With more frames CLIPModel is its image tower with one frame and PE_t = 0;
  the temporal embedding lies beside it and is read back.
  """
  import torch
  import transformers

  from vidlm.interop import described, export

  hf_clip.save_pretrained(tmp_path / 'theirs')
  model, params = load(tmp_path / 'theirs')
  shape = huggingface.clip_shape(str(tmp_path / 'theirs'))
  flat = trees.flatten(params)
  rng = np.random.default_rng(0)
  flat['img/temporal_embedding'] = rng.normal(size=(1, frames, 48)).astype(
    np.float32
  )
  ours = weights.numbered(
    {name: leaves_lib.from_array(x) for name, x in flat.items()}
  )
  folder = tmp_path / 'ours'
  extra = export.write_huggingface(
    epath.Path(folder), ours, described.Description(clip=shape)
  )
  theirs, log = transformers.CLIPModel.from_pretrained(
    folder, output_loading_info=True
  )
  assert not any(
    log[k] for k in ('missing_keys', 'unexpected_keys', 'mismatched_keys')
  )
  back = weights.open_weights(str(folder)).leaves
  if frames > 1:
    assert extra == ['img/temporal_embedding']
    assert back.keys() == ours.keys()
    for name, leaf in ours.items():
      np.testing.assert_array_equal(back[name], leaf)
    flat['img/temporal_embedding'] = np.zeros((1, 1, 48), np.float32)
  else:
    assert extra == []
  clips = batch.frames[:, :1]
  pixels = vit_st.normalize(
    jnp.asarray(clips[:, 0]), vit_st.CLIP_MEAN, vit_st.CLIP_STD
  )
  with torch.no_grad():
    want = theirs.eval()(
      input_ids=torch.tensor(batch.text),
      pixel_values=torch.tensor(np.asarray(pixels).transpose(0, 3, 1, 2)),
    )
  zimg, ztxt, out = jax.jit(model.apply)(
    {'params': trees.unflatten(flat)},
    jnp.asarray(clips),
    jnp.asarray(batch.text),
  )
  wanted = want.logits_per_text.numpy()
  got = out['t'] * ztxt @ zimg.T
  assert np.abs(got - wanted).max() <= 2e-5 * np.abs(wanted).max()


PUBLISHED = {
  'dualenc_b16': {
    'projection_dim': 512,
    'vision_config': {'patch_size': 16},
  },
  'dualenc_l14': {
    'projection_dim': 768,
    'text_config': {
      'hidden_size': 768,
      'intermediate_size': 3072,
      'num_attention_heads': 12,
    },
    'vision_config': {
      'hidden_size': 1024,
      'intermediate_size': 4096,
      'num_attention_heads': 16,
      'num_hidden_layers': 24,
      'patch_size': 14,
    },
  },
}
# Shrinks a recipe to `small_clip`, one frame, PE_t zero as AVION's.
SHRUNK = [
  "MODEL_DIR='unused'",
  "DTYPE='float32'",
  'NUM_FRAMES=1',
  'IMAGE_SIZE=32',
  'EMBED_DIM=24',
  "vit_st.ViTST.variant='48,2,96,3/16'",
  'vit_st.ViTST.temporal_std=0.0',
  'text.TextTransformer.width=8',
  'text.TextTransformer.mlp_dim=8',
  'text.TextTransformer.depth=3',
  'text.TextTransformer.num_heads=4',
  'text.TextTransformer.context_length=12',
]


@pytest.mark.parametrize('name', PUBLISHED)
def test_recipes_are_of_clips_sizes(name):
  from vidlm.interop import clip_names, described
  from vidlm.nn import vit

  with launch.isolated_gin():
    launch.parse_gin([f'configs/dualenc/recipes/{name}.gin'])
    model = launch.macro('MODEL').model
    spec = launch.macro('INITIAL_CHECKPOINT_PATH')
  assert spec.startswith('hf://openai/clip-vit-')
  ours = described.of_model(model).clip
  theirs = clip_names.shape(PUBLISHED[name])
  same = vit.decode_variant(ours.variant) == vit.decode_variant(theirs.variant)
  assert same
  assert dataclasses.replace(ours, variant=theirs.variant) == theirs


@pytest.mark.parametrize('name', PUBLISHED)
def test_recipes_start_as_clip(name, small_clip, batch, tmp_path):
  """At step 0 a dual encoder of one frame is the CLIP it starts from."""
  import torch

  small_clip.save_pretrained(tmp_path)
  with launch.isolated_gin():
    launch.parse_gin(
      [f'configs/dualenc/recipes/{name}.gin'],
      [*SHRUNK, f"INITIAL_CHECKPOINT_PATH='{tmp_path}'"],
    )
    parsed = plan.recipe()
    initial = train.initial_params(
      parsed.objective, launch.macro('INITIAL_CHECKPOINT_PATH')
    )
  tx = parsed.make_optimizer()
  loaded = trees.flatten(initial)
  assert set(tx.trained) - loaded.keys() == {'img/temporal_embedding'}
  state = step.initial_state(
    parsed.objective,
    tx,
    train.MeshConfig(fsdp=False).partitioner(),
    'float32',
    0,
    loaded,
  )
  assert not np.any(state.trained['img/temporal_embedding'])
  frames = batch.frames[:, :1]
  pixels = vit_st.normalize(
    jnp.asarray(frames[:, 0]), vit_st.CLIP_MEAN, vit_st.CLIP_STD
  )
  text = np.where(batch.text == 95, 49407, batch.text)  # CLIP's end of text
  with torch.no_grad():
    want = small_clip(
      input_ids=torch.tensor(text),
      pixel_values=torch.tensor(np.asarray(pixels).transpose(0, 3, 1, 2)),
    )
  zimg, ztxt, out = jax.jit(parsed.objective.model.apply)(
    {'params': trees.unflatten(state.trained)},
    jnp.asarray(frames),
    jnp.asarray(text),
  )
  logits = out['t'] * ztxt @ zimg.T
  for got, wanted in (
    (zimg, want.image_embeds),
    (ztxt, want.text_embeds),
    (logits, want.logits_per_text),
  ):
    wanted = wanted.numpy()
    assert np.abs(got - wanted).max() <= 2e-5 * np.abs(wanted).max()


@pytest.fixture(scope='module')
def small_clip(hf_clip, torchvision_operators):
  """As `hf_clip`, with CLIP's own vocabulary."""
  import torch
  import transformers

  config = transformers.CLIPConfig.from_dict(hf_clip.config.to_dict())
  config.text_config.vocab_size = 49408
  config.text_config.eos_token_id = 49407
  config.text_config.bos_token_id = 49406
  config.text_config.hidden_size = 8
  config.text_config.intermediate_size = 8
  torch.manual_seed(1)
  return transformers.CLIPModel(config).eval()


def test_clip_folder_is_a_checkpoint(small_clip, batch, tmp_path):
  """`--checkpoint` takes CLIPModel's folder, and what `convert` makes of it."""
  import torch

  from dualenc import eval as eval_lib
  from vidlm.interop import convert

  small_clip.save_pretrained(tmp_path / 'clip')
  text = ['a cat', 'a dog runs to the left']
  towers = eval_lib.load_towers(str(tmp_path / 'clip'))
  assert towers.model.img.num_frames == 1
  got = towers.embed_text(text)
  ids = towers.vocabulary.tokenizer(text, 12)
  with torch.no_grad():
    want = small_clip.text_model(input_ids=torch.tensor(ids)).pooler_output
    want = small_clip.text_projection(want)
    want = (want / want.norm(dim=-1, keepdim=True)).numpy()
  assert np.abs(got - want).max() <= 2e-2  # bfloat16 activations
  for format in ('checkpoint', 'huggingface'):
    target = str(tmp_path / format)
    convert.convert(str(tmp_path / 'clip'), target, format=format)
    again = eval_lib.load_towers(target)
    assert again.model == towers.model
    np.testing.assert_array_equal(again.embed_texts(text), got)
