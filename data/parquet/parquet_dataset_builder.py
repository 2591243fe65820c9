"""Hugging Face Parquet for `tfds build data/parquet`."""

from vidlm.data.sets import tfds_builder


class Builder(tfds_builder.ClipSetBuilder):
  """Hugging Face Parquet; see the card beside this file."""

  SET = 'parquet'
