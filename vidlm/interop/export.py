"""A model of ours as a folder that Hugging Face's classes load.

    T5            -> T5ForConditionalGeneration
    vision tower  -> SiglipVisionModel
    dual encoder  -> CLIPModel (with one frame it is the whole model)
    Gemma         -> GemmaForCausalLM, Gemma2ForCausalLM
    VLM of Gemma  -> PaliGemmaForConditionalGeneration
    VLM of T5     -> language_model/ and vision_tower/, each of the above

What those classes have no place for is written to vidlm.safetensors beside
them, under our names, so that reading back loses nothing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from vidlm.interop import (
  clip_names,
  huggingface,
  mapping,
  paligemma_config,
  paligemma_names,
  safetensors_format,
  siglip_names,
  t5_names,
)
from vidlm.interop.described import Description, Tower
from vidlm.interop.leaves import Leaf
from vidlm.nn.gemma_config import GemmaConfig

# Prefix of our names: the folder of that part of a VLM.
PARTS = {'llm': 'language_model', 'img': 'vision_tower'}
_TEMPORAL = 'img/temporal_embedding'


def write_huggingface(
  folder: epath.Path,
  ours: Mapping[str, Leaf],
  described: Description,
  shard_bytes: int = huggingface.SHARD_BYTES,
) -> list[str]:
  """Writes a folder.

  Args:
    folder: Where to.
    ours: {our name: leaf}, layers numbered.
    described: What they are.
    shard_bytes: Where a new file begins.

  Returns:
    Names of the leaves in vidlm.safetensors.

  Raises:
    ValueError: If there is no class that computes this.
  """
  if described.whole is not None:
    config, table = described.whole
    return _write(folder, config, table, ours, shard_bytes, extra=True)
  if described.clip is not None:
    return _write_clip(folder, ours, described.clip, shard_bytes)
  if described.llm is None or described.img is None:
    return _write_part(
      folder, ours, described.llm or described.img, shard_bytes
    )
  if isinstance(described.llm, GemmaConfig):
    sizes = described.llm, described.img.variant, described.img.image_size
    config = paligemma_config.to_config(*sizes)
    table = paligemma_names.table(*sizes)
    return _write(folder, config, table, ours, shard_bytes, extra=True)
  extra: dict[str, Leaf] = {}
  for part, name in PARTS.items():
    inner = {
      leaf.removeprefix(f'{part}/'): value
      for leaf, value in ours.items()
      if leaf.startswith(f'{part}/')
    }
    model = described.llm if part == 'llm' else described.img
    config, table = _part(inner, model)
    _write(folder / name, config, table, inner, shard_bytes)
    known = {entry.ours for entry in table.entries}
    extra |= {f'{part}/{n}': x for n, x in inner.items() if n not in known}
  huggingface.write_json(
    folder / huggingface.CONFIG,
    {
      'model_type': 'vidlm',
      'architectures': ['VideoVLM'],
      'parts': PARTS,
      'num_frames': described.num_frames,
    },
  )
  return _write_extra(folder, extra)


def _part(
  ours: Mapping[str, Leaf], model: Any
) -> tuple[dict[str, Any], mapping.Table]:
  if isinstance(model, Tower):
    if 'cls' in ours:
      raise ValueError(
        'a vision tower with a class token: SiglipVisionModel has none; '
        'use --format=big_vision'
      )
    pooled = any(name.startswith('MAPHead_0/') for name in ours)
    return (
      siglip_names.to_config(model.variant, model.image_size, pooled),
      siglip_names.table(
        model.variant, model.image_size, 'vision_model.', pooled
      ),
    )
  if isinstance(model, GemmaConfig):
    return (
      paligemma_config.to_text_config(model),
      paligemma_names.text_table(model),
    )
  return t5_names.to_config(model), t5_names.table(model)


def _write_part(
  folder: epath.Path, ours: Mapping[str, Leaf], model: Any, shard_bytes: int
) -> list[str]:
  config, table = _part(ours, model)
  return _write(folder, config, table, ours, shard_bytes, extra=True)


def _write_clip(
  folder: epath.Path,
  ours: Mapping[str, Leaf],
  shape: clip_names.Shape,
  shard_bytes: int,
) -> list[str]:
  """Writes a `CLIPModel`, one frame's temporal embedding folded in."""
  ours = dict(ours)
  temporal = ours.get(_TEMPORAL)
  if temporal is not None and temporal.shape[1] == 1:
    first = temporal.load()
    del ours[_TEMPORAL]
    if np.any(first):
      ours['img/pos_embedding'] = _fold(ours['img/pos_embedding'], first)
  table = clip_names.table(shape)
  config = clip_names.to_config(shape)
  return _write(folder, config, table, ours, shard_bytes, extra=True)


def _fold(positions: Leaf, temporal: np.ndarray) -> Leaf:
  def load() -> np.ndarray:
    table = positions.load().astype(np.float32)  # a copy
    # Not to the class token, which belongs to no frame.
    table[:, 1:] += temporal.astype(np.float32)
    return table

  return Leaf(positions.shape, np.dtype(np.float32), load)


def _write(
  folder: epath.Path,
  config: Mapping[str, Any],
  table: mapping.Table,
  ours: Mapping[str, Leaf],
  shard_bytes: int,
  extra: bool = False,
) -> list[str]:
  # The commonest; sorted, since the order of a set differs from run to run.
  types = [str(leaf.dtype) for leaf in ours.values()]
  config = {**config, 'dtype': max(sorted(set(types)), key=types.count)}
  huggingface.write(folder, config, table, ours, shard_bytes)
  if not extra:
    return []
  known = {entry.ours for entry in table.entries}
  return _write_extra(
    folder, {name: x for name, x in ours.items() if name not in known}
  )


def _write_extra(folder: epath.Path, extra: Mapping[str, Leaf]) -> list[str]:
  if extra:
    safetensors_format.write(folder / huggingface.EXTRA, extra)
  return sorted(extra)
