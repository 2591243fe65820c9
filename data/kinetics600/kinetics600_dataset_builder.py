"""Kinetics-600 for `tfds build data/kinetics600`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Kinetics-600; see the card beside this file."""

  SET = 'kinetics600'
