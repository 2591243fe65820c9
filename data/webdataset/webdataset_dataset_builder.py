"""WebDataset tars for `tfds build data/webdataset`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """WebDataset tars; see the card beside this file."""

  SET = 'webdataset'
