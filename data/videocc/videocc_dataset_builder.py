"""VideoCC for `tfds build data/videocc`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """VideoCC; see the card beside this file."""

  SET = 'videocc'
