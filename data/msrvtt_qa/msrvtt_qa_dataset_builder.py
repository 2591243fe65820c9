"""MSRVTT-QA for `tfds build data/msrvtt_qa`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """MSRVTT-QA; see the card beside this file."""

  SET = 'msrvtt_qa'
