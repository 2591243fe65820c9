"""Kinetics-400 for `tfds build data/kinetics400`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Kinetics-400; see the card beside this file."""

  SET = 'kinetics400'
