"""Which table reads which architecture of a Hugging Face config.json.

A new family is a module with a table and one call of `register`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vidlm.interop import (
  clip_names,
  paligemma_config,
  paligemma_names,
  siglip_names,
  t5_names,
)
from vidlm.interop.described import Description, Tower
from vidlm.interop.leaves import Leaf
from vidlm.interop.mapping import Table


@dataclasses.dataclass(frozen=True)
class Family:
  """Architectures that one table reads.

  Attributes:
    name: For messages.
    place: Where its parameters go in a VLM: 'img', 'llm', or '' for a model
      that is whole by itself.
    read_table: (config.json, {their name: leaf}) -> the table; ValueError if
      the architecture is of the family but not ours.
    describe: config.json -> what `export` and model.gin need to know.
  """

  name: str
  place: str
  read_table: Callable[[Mapping[str, Any], Mapping[str, Leaf]], Table]
  describe: Callable[[Mapping[str, Any]], Description]


def _describe_siglip(config: Mapping[str, Any]) -> Description:
  vision = siglip_names.vision_config(config)
  tower = Tower(siglip_names.variant(vision), vision['image_size'])
  return Description(img=tower)


def _describe_paligemma(config: Mapping[str, Any]) -> Description:
  fields = paligemma_config.model_fields(config)
  tower = Tower(fields['variant'], fields['image_size'])
  return Description(llm=fields['llm_config'], img=tower)


T5 = Family(
  'T5',
  'llm',
  t5_names.read_table,
  lambda config: Description(llm=t5_names.model_config(config)),
)
SIGLIP = Family('SigLIP', 'img', siglip_names.read_table, _describe_siglip)
CLIP = Family(
  'CLIP',
  '',
  clip_names.read_table,
  lambda config: Description(clip=clip_names.shape(config)),
)

PALIGEMMA = Family(
  'PaliGemma', '', paligemma_names.read_table, _describe_paligemma
)
GEMMA = Family(
  'Gemma',
  'llm',
  paligemma_names.read_text_table,
  lambda config: Description(llm=paligemma_config.gemma_config(config)),
)

_FAMILIES: dict[str, Family] = {}
# By class or model_type: why not.
_REFUSED = {
  'Siglip2Model': (
    'SigLIP 2 NaFlex has another patch embedding; take one of a fixed '
    'resolution, such as google/siglip2-so400m-patch14-224'
  ),
}
_REFUSED |= {
  'siglip2': _REFUSED['Siglip2Model'],
  'Siglip2VisionModel': _REFUSED['Siglip2Model'],
}


def register(family: Family, names: Sequence[str]) -> None:
  """Makes a family known.

  Args:
    family: The family.
    names: Values of `architectures` and `model_type` in config.json.
  """
  _FAMILIES.update(dict.fromkeys(names, family))


register(
  T5,
  [
    'T5ForConditionalGeneration',
    'MT5ForConditionalGeneration',
    'UMT5ForConditionalGeneration',
    't5',
    'mt5',
    'umt5',
  ],
)
register(
  SIGLIP,
  ['SiglipModel', 'SiglipVisionModel', 'siglip', 'siglip_vision_model'],
)
register(CLIP, ['CLIPModel', 'clip'])
register(PALIGEMMA, ['PaliGemmaForConditionalGeneration', 'paligemma'])
register(GEMMA, ['GemmaForCausalLM', 'Gemma2ForCausalLM', 'gemma', 'gemma2'])


def family(config: Mapping[str, Any], where: str) -> Family:
  """Returns the family of a config.json: by its class, else by its model_type.

  Args:
    config: The parsed config.json.
    where: The source, for errors.

  Raises:
    ValueError: If there is none.
  """
  classes = config.get('architectures') or []
  for name in (*classes, config.get('model_type')):
    if name in _REFUSED:
      raise ValueError(f'{where}: {name}: {_REFUSED[name]}')
  # A class that is unknown counts: T5ForSequenceClassification is no T5 LM.
  for name in classes or [config.get('model_type')]:
    if name in _FAMILIES:
      return _FAMILIES[name]
  known = sorted(name for name in _FAMILIES if name[0].isupper())
  raise ValueError(
    f'{where}: config.json says {", ".join(classes) or "no architecture"} '
    f'({config.get("model_type")}), which is not known here; known are '
    f'{", ".join(known)}'
  )
