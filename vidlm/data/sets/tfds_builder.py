"""TFDS builders of the named sets: what data/<set>/ holds a subclass of.

For people who build with TFDS's own tools:

  tfds build data/msrvtt --manual_dir=DIR --file_format=array_record \\
    --beam_pipeline_options=runner=DataflowRunner,...

where DIR has `videos/` and `annotations/`. `vidlm prepare msrvtt` makes the
same records without TFDS's downloads and keys, in the order of the
annotations, restartable, and with the index our tasks need.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from vidlm.data.prepare import beam as beam_run
from vidlm.data.prepare import shard_plan, staging
from vidlm.data.sets import build
from vidlm.data.store import clip_schema
from vidlm.data.video import decode_pool, listing

_CLIPS = 1000  # an element of Beam's


class ClipSetBuilder(  # type: ignore[call-arg]  # TFDS comes without types
  tfds.core.GeneratorBasedBuilder, skip_registration=True
):
  """A data set as clip records; a subclass names it.

  Attributes:
    SET: One of `vidlm.data.sets.registry.SETS`.
  """

  VERSION = tfds.core.Version('1.0.0')
  SET = ''
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'A folder with `videos/` and, unless they bring their texts along, '
    '`annotations/`; see the card beside the builder.'
  )

  def _info(self) -> Any:
    return tfds.core.DatasetInfo(builder=self, features=clip_schema.features())

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    folder = dl_manager.manual_dir
    annotations = folder / 'annotations'  # not where tars hold the texts
    entries, _, _ = build.collect(
      self.SET,
      str(folder / 'videos'),
      [str(annotations)] if annotations.exists() else [],
    )
    splits: dict[str, list[listing.Entry]] = {}
    for entry in entries:
      splits.setdefault(entry.split, []).append(entry)
    return {
      split: self._generate_examples(members)
      for split, members in splits.items()
    }

  def _generate_examples(self, entries: list[listing.Entry]) -> Any:
    shards = [
      beam_run.as_element(
        shard_plan.Shard('train', number, entries[first : first + _CLIPS])
      )
      for number, first in enumerate(range(0, len(entries), _CLIPS))
    ]
    try:
      import apache_beam as beam
    except ImportError:
      return (pair for shard in shards for pair in decode_examples(shard))
    return (
      beam.Create(shards) | beam.Reshuffle() | beam.FlatMap(decode_examples)
    )


def decode_examples(
  element: dict[str, Any],
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields keys and examples of the clips of a shard that decode.

  Args:
    element: What `beam.as_element` returned.
  """
  shard = beam_run.from_element(element)
  with decode_pool.DecodePool() as pool:
    for row in staging.decoded_rows(shard, pool):
      yield row.clip_id, clip_schema.example(row)
