"""NExT-OE for `tfds build data/next_oe`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """NExT-OE; see the card beside this file."""

  SET = 'next_oe'
