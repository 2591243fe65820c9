"""VATEX for `tfds build data/vatex`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """VATEX; see the card beside this file."""

  SET = 'vatex'
