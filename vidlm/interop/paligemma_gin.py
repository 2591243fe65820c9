"""The recipe of a PaliGemma that comes without a run, for its model.gin.

With it someone else's PaliGemma is a video VLM as the recipes have it: eight
frames, prompts in PaliGemma's format.
"""

import dataclasses

from vidlm.interop.described import Description
from vidlm.nn.gemma_config import GemmaConfig

TOKENIZER = 'tokenizer.json'
# Of a run, not of the model: the included file has them.
_FREE = ('dropout_rate', 'dtype', 'remat_policy', 'scan_layers', 'attention')


def is_paligemma(described: Description) -> bool:
  """Whether this is a vision tower with a Gemma."""
  return isinstance(described.llm, GemmaConfig) and described.img is not None


def text(described: Description, vocabulary_path: str = '') -> str:
  """The configuration.

  Args:
    described: A PaliGemma.
    vocabulary_path: Its tokenizer.json; by default where the recipes have it.

  Raises:
    ValueError: If one of its two parts is missing.
  """
  llm, img = described.llm, described.img
  if llm is None or img is None:
    raise ValueError('no PaliGemma: an image and a language part make one')
  fields = {
    field.name: getattr(llm, field.name)
    for field in dataclasses.fields(llm)
    if field.name not in (*_FREE, 'vocab_size')
  }
  lines = [
    "# Someone else's PaliGemma, as a video VLM.",
    'from __gin__ import dynamic_registration',
    'from vidlm.models import video_vlm',
    'from vidlm.nn import gemma',
    '',
    "include 'configs/vidlm/models/so400m_gemma_2b.gin'",
    '',
    "TASK_FEATURE_LENGTHS = {'inputs': 16, 'targets': 32}",
    f'VOCABULARY_SIZE = {llm.vocab_size}',
    f'IMAGE_SIZE = {img.image_size}',
  ]
  if vocabulary_path:
    lines.append(f'VOCABULARY_PATH = {vocabulary_path!r}')
  lines += ['video_vlm.VideoVLM:', f'  variant = {img.variant!r}']
  lines.append('gemma.GemmaConfig:')
  lines += [f'  {name} = {value!r}' for name, value in fields.items()]
  return '\n'.join(lines) + '\n'
