"""Video-ChatGPT's instructions for `tfds build data/video_chatgpt`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Video-ChatGPT's instructions; see the card beside this file."""

  SET = 'video_chatgpt'
