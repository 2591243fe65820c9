"""Kinetics-700 for `tfds build data/kinetics700`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Kinetics-700; see the card beside this file."""

  SET = 'kinetics700'
