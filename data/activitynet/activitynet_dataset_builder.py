"""ActivityNet Captions for `tfds build data/activitynet`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """ActivityNet Captions; see the card beside this file."""

  SET = 'activitynet'
