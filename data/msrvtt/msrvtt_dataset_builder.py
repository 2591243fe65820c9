"""MSR-VTT for `tfds build data/msrvtt`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """MSR-VTT; see the card beside this file."""

  SET = 'msrvtt'
