"""The recipe of a CLIP that comes without a run, for its model.gin.

With it someone else's CLIP is a dual encoder of one frame. The text names what
`dualenc` has; no module here imports that.
"""

from vidlm.interop import clip_names


def text(shape: clip_names.Shape) -> str:
  """The configuration.

  Args:
    shape: The CLIP's sizes.
  """
  return f"""# OpenAI's or another CLIP, as a dual encoder of one frame.
from __gin__ import dynamic_registration
from dualenc.models import text
from dualenc.models import vit_st

include 'configs/dualenc/models/clip_l14.gin'

TASK_FEATURE_LENGTHS = {{'inputs': 8, 'targets': {shape.context_length}}}
NUM_FRAMES = 1
IMAGE_SIZE = {shape.image_size}
EMBED_DIM = {shape.embed_dim}
vit_st.ViTST:
  variant = {shape.variant!r}
  activation = {shape.activation!r}
text.TextTransformer:
  width = {shape.width}
  depth = {shape.depth}
  num_heads = {shape.num_heads}
  mlp_dim = {shape.mlp_dim}
  vocab_size = {shape.vocab_size}
  context_length = {shape.context_length}
  eos_id = {shape.eos_id!r}
  activation = {shape.activation!r}
"""
