"""A dual encoder put together from a run, or from someone else's CLIP."""

from typing import Any

from dualenc import data
from dualenc import objective as objective_lib
from dualenc.models import text, two_towers, vit_st
from vidlm.core import launch
from vidlm.interop import clip_names, fitting, huggingface, paths, weights
from vidlm.training import step

# Image CLIPs have none: zero leaves one frame as it was.
_ZEROS = ('img/temporal_embedding',)


def load_run(checkpoint: str) -> tuple[Any, dict[str, Any], Any, int, str]:
  """Reads a dual encoder; clears the gin configuration.

  Args:
    checkpoint: A MODEL_DIR or a checkpoint in it, a folder `vidlm convert`
      made, or a CLIP (`CLIPModel`, or openai/CLIP's names in safetensors);
      local, gs:// or hf://owner/name. CLIP is read as a model of one frame.

  Returns:
    The model, its parameters, the vocabulary, tokens a text, and the
    checkpoint that was read.

  Raises:
    FileNotFoundError: If there is nothing to read.
    ValueError: If it is damaged, or no dual encoder.
  """
  folder = paths.local(checkpoint)
  if not weights.has_run(folder):
    shape = huggingface.clip_shape(folder)
    if shape is not None:
      return *load_clip(folder, shape), checkpoint
  with launch.isolated_gin():
    weights.parse_run(folder)
    objective = launch.macro('MODEL')
    if not isinstance(objective, objective_lib.DualEncoderObjective):
      raise ValueError(
        f'{checkpoint}: holds a {type(objective).__name__}, no dual encoder; '
        'give the MODEL_DIR of `dualenc train`'
      )
    vocabulary = launch.macro('VOCABULARY')
    length = launch.macro('TASK_FEATURE_LENGTHS')['targets']
  read_from, params = fitting.load(
    folder, lambda: step.parameter_shapes(objective), zeros=_ZEROS
  )
  return objective.model, params, vocabulary, length, read_from


def load_clip(
  path: str, shape: clip_names.Shape
) -> tuple[two_towers.TwoTowers, dict[str, Any], data.ClipVocabulary, int]:
  """Reads an image CLIP as a dual encoder of one frame; see `load_run`.

  Raises:
    ValueError: If it has another vocabulary than CLIP's.
  """
  vocabulary = data.ClipVocabulary()
  if shape.vocab_size != vocabulary.size:
    raise ValueError(
      f'{path}: a text tower of {shape.vocab_size} ids; only the vocabulary of '
      f'CLIP ({vocabulary.size}) comes without a run'
    )
  model = clip_model(shape)
  objective = objective_lib.DualEncoderObjective(model)
  params = fitting.load_params(
    path, lambda: step.parameter_shapes(objective), vocabulary.size, _ZEROS
  )
  return model, params, vocabulary, shape.context_length


def clip_model(shape: clip_names.Shape, **options: Any) -> two_towers.TwoTowers:
  """The model of a CLIP's sizes, with one frame.

  Args:
    shape: The sizes.
    **options: Fields of both towers, such as `dtype`.
  """
  common = {
    'embed_dim': shape.embed_dim,
    'activation': shape.activation,
    **options,
  }
  return two_towers.TwoTowers(
    img=vit_st.ViTST(
      variant=shape.variant,
      num_frames=1,
      image_size=shape.image_size,
      **common,
    ),
    txt=text.TextTransformer(
      width=shape.width,
      depth=shape.depth,
      num_heads=shape.num_heads,
      mlp_dim=shape.mlp_dim,
      vocab_size=shape.vocab_size,
      context_length=shape.context_length,
      eos_id=shape.eos_id,
      **common,
    ),
  )
