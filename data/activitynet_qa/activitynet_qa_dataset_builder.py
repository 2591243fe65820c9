"""ActivityNet-QA for `tfds build data/activitynet_qa`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """ActivityNet-QA; see the card beside this file."""

  SET = 'activitynet_qa'
