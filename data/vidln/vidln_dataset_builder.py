"""Video Localized Narratives for `tfds build data/vidln`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Video Localized Narratives; see the card beside this file."""

  SET = 'vidln'
