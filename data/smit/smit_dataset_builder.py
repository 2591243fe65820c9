"""Spoken Moments in Time for `tfds build data/smit`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Spoken Moments in Time; see the card beside this file."""

  SET = 'smit'
