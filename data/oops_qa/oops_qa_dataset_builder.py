"""Oops-QA for `tfds build data/oops_qa`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Oops-QA; see the card beside this file."""

  SET = 'oops_qa'
