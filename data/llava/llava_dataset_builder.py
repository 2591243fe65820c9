"""LLaVA-Instruct-150K for `tfds build data/llava`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """LLaVA-Instruct-150K; see the card beside this file."""

  SET = 'llava'
