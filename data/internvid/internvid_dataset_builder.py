"""InternVid-10M-FLT for `tfds build data/internvid`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """InternVid-10M-FLT; see the card beside this file."""

  SET = 'internvid'
