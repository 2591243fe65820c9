"""Decodes the shards of a clip set on Apache Beam: one machine or a thousand.

A shard (1,000 clips) is one element. Its file appears by atomic rename under
a name that depends on nothing but the plan, so an element that Beam runs
twice, or a pipeline that is killed and started again, changes nothing: what is
there is not made again, and the set is the one a single machine would write.

The workers need this package, and the folders of videos and of the output
under the same paths (a shared file system).
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging

from vidlm.core import files
from vidlm.data.prepare import shard_plan, staging
from vidlm.data.video import decode_pool, listing
from vidlm.data.video import sampling as sampling_lib


def decode_shards(
  plan: shard_plan.Plan,
  output: pathlib.Path,
  sampling: sampling_lib.Sampling,
  num_workers: int | None,
  options: str,
) -> None:
  """Decodes the shards that aren't there yet; as `staging.decode_shards`.

  Args:
    plan: What to do.
    output: Folder of the set.
    sampling: How clips become frames.
    num_workers: Decoding processes of each Beam worker.
    options: Beam's, as `tfds build` takes them: 'runner=DataflowRunner,
      project=...,direct_num_workers=4'. Without a runner: in this process.

  Raises:
    ImportError: If Beam isn't installed; says how to.
  """
  try:
    import apache_beam as beam
  except ImportError:
    raise ImportError(
      '--beam_pipeline_options needs Apache Beam: pip install "vidlm[beam]"'
    ) from None
  folder = plan.folder(output).absolute()
  files.make_folder(folder)
  missing = staging.missing_shards(plan, folder)
  logging.info(
    '%s: %d of %d shards to do', output, len(missing), len(plan.shards)
  )
  if not missing:
    return
  write = functools.partial(
    write_element,
    folder=str(folder),
    sampling=sampling,
    num_workers=num_workers,
  )
  with beam.Pipeline(**_runner(options)) as pipeline:
    _ = (
      pipeline
      | beam.Create([as_element(shard) for shard in missing])
      | beam.Reshuffle()
      | beam.Map(write)
    )


def _runner(options: str) -> dict[str, Any]:
  """Returns the arguments of a `beam.Pipeline`."""
  from apache_beam.options import pipeline_options
  from apache_beam.runners.portability import fn_api_runner

  flags = [
    f'--{part.strip().lstrip("-")}'
    for part in options.split(',')
    if part.strip()
  ]
  parsed = pipeline_options.PipelineOptions(flags)
  if any(flag.startswith('--runner') for flag in flags):
    return {'options': parsed}
  # By name, since Beam's default may try to download another runner.
  return {'options': parsed, 'runner': fn_api_runner.FnApiRunner()}


def as_element(shard: shard_plan.Shard) -> dict[str, Any]:
  """Returns a shard as what Beam can send: dicts, lists, texts and numbers."""
  entries = []
  for entry in shard.entries:
    fields = dataclasses.asdict(entry)
    if entry.path:
      # As bytes: Beam sends texts as UTF-8, which a name need not be.
      fields['path'] = os.fsencode(os.path.abspath(entry.path))
    entries.append(fields)
  return {'split': shard.split, 'number': shard.number, 'entries': entries}


def from_element(element: Mapping[str, Any]) -> shard_plan.Shard:
  """Returns the shard of `as_element`."""
  entries = []
  for fields in element['entries']:
    lists = {
      name: tuple(fields[name]) for name in ('texts', 'questions', 'answers')
    }
    path = fields['path'] and os.fsdecode(fields['path'])
    entries.append(listing.Entry(**{**fields, **lists, 'path': path}))
  return shard_plan.Shard(element['split'], element['number'], entries)


def write_element(
  element: Mapping[str, Any],
  folder: str,
  sampling: sampling_lib.Sampling,
  num_workers: int | None,
) -> str:
  """Decodes a shard on a Beam worker; one bad clip is a line of its report.

  A function of the module, so that Beam sends its name and not its code; its
  decoding processes live as long as the shard.
  """
  shard = from_element(element)
  with decode_pool.DecodePool(num_workers) as pool:
    staging.write_shard(pathlib.Path(folder), shard, pool, sampling)
  return shard.name
