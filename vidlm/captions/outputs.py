"""The set that a run writes: who may write it, what is missing, the end."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

from vidlm.captions import identity, inputs
from vidlm.core import files, processes
from vidlm.data.store import caption_sets as captions_lib


@dataclasses.dataclass(frozen=True)
class ProcessGroup:
  """The processes that share a run.

  Attributes:
    index: Number of this process.
    count: How many there are.
    distributed: Whether jax.distributed connects them.
  """

  index: int = 0
  count: int = 1
  distributed: bool = False

  @classmethod
  def make(cls, index: int | None, count: int | None) -> 'ProcessGroup':
    """Returns the processes given, or else jax's.

    Raises:
      ValueError: If the index is beyond the count.
    """
    if index is None and count is None:
      import jax

      index, count = jax.process_index(), jax.process_count()
      return cls(index, count, count > 1)
    index, count = index or 0, count or 1
    if not 0 <= index < count:
      raise ValueError(f'process_index={index} of process_count={count}')
    return cls(index, count)

  def wait_for_all(self, seconds: float) -> None:
    """Waits until all have come so far; only if they are connected."""
    if self.distributed:
      processes.wait_for_all('caption', seconds)


class CaptionSet:
  """A caption set in the making."""

  def __init__(
    self,
    output: str,
    config: Mapping[str, Any],
    model: str,
    source: inputs.Source,
    group: ProcessGroup,
  ):
    """Makes the folder.

    Args:
      output: Folder of the set.
      config: All that captions depend on but their clips.
      model: Name of the captioner.
      source: The clips.
      group: The processes that share the run.
    """
    self._folder = pathlib.Path(output)
    self._config = config
    self._hash = captions_lib.config_hash(config)
    self._model = model
    self._source = source
    self._group = group
    self._digests: dict[int, str] = {}
    files.make_folder(self._folder, '--output')

  def _path(self, shard: int) -> pathlib.Path:
    name = captions_lib.file_name(shard, self._source.num_shards)
    return self._folder / name

  def _mine(self) -> Sequence[int]:
    return range(self._group.index, self._source.num_shards, self._group.count)

  def _digest(self, shard: int) -> str:
    if shard not in self._digests:
      self._digests[shard] = self._source.digest(shard)
    return self._digests[shard]

  def claim(self, overwrite: bool) -> None:
    """Refuses a folder that holds another set.

    Args:
      overwrite: Don't.

    Raises:
      ValueError: If it does, with what differs.
    """
    others = [
      config
      for config in self._configs()
      if captions_lib.config_hash(config) != self._hash
    ]
    if not others:
      return
    changes = identity.differences(others[0], self._config)
    if overwrite:
      logging.info('%s: replacing a set (%s)', self._folder, '; '.join(changes))
      return
    raise ValueError(
      f'--output={self._folder} is another set ({"; ".join(changes)}); '
      'choose a new folder or --overwrite'
    )

  def _configs(self) -> list[Mapping[str, Any]]:
    configs = []
    for name in captions_lib.find_files(self._folder):
      try:
        configs.append(captions_lib.read_info(self._folder / name).config)
      except (ValueError, FileNotFoundError) as error:
        logging.warning('%s', error)
    # Without one the set is unfinished; a damaged one is written anew.
    with contextlib.suppress(ValueError, FileNotFoundError):
      configs.append(captions_lib.read_manifest(self._folder)['config'])
    return configs

  def pending(self, retry_failed: bool = False) -> list[int]:
    """Returns the shards of this process to be done.

    Their old files, whose clips have changed or which are damaged, are
    removed, and the manifest with them: the set isn't whole any more.
    """
    missing = []
    kept = 0
    for shard in self._mine():
      problem = self._problem(shard, retry_failed)
      if problem is None:
        kept += 1
        continue
      missing.append(shard)
      if problem:
        logging.warning('%s: done again, %s', self._path(shard), problem)
    # The manifest goes first: a set that has one is whole.
    if missing:
      (self._folder / captions_lib.MANIFEST).unlink(missing_ok=True)
    for shard in missing:
      self._path(shard).unlink(missing_ok=True)
    if kept:
      logging.info(
        '%s: %d of %d files are finished already',
        self._folder,
        kept,
        len(self._mine()),
      )
    return missing

  def _problem(self, shard: int, retry_failed: bool = False) -> str | None:
    """Returns why a shard must be done: '' if it is new; None if it is done."""
    path = self._path(shard)
    try:
      info = captions_lib.read_info(path)
      entry = captions_lib.describe_file(path)
    except FileNotFoundError:
      return ''
    except ValueError as error:
      return str(error)
    if info.config_hash != self._hash:
      return 'it was made with other settings'
    if info.input_digest != self._digest(shard):
      return 'its clips have changed'
    if self._source.rows(shard) not in (None, info.rows):
      return f'it has {info.rows} rows of {self._source.rows(shard)}'
    if retry_failed and entry['ok'] < entry['rows']:
      return f'{entry["rows"] - entry["ok"]} clips have failed'
    return None

  def write(self, shard: int, rows: Sequence[captions_lib.CaptionRow]) -> None:
    """Writes the file of a shard, unless another process has meanwhile.

    Raises:
      ValueError: If it can't be written.
    """
    info = captions_lib.FileInfo(
      config_hash=self._hash,
      config=self._config,
      input_digest=self._digest(shard),
      model=self._model,
    )
    if self._taken(shard):
      return
    try:
      captions_lib.write_file(self._path(shard), rows, info)
    except ValueError:
      # Whoever finished the set has cleaned up after us.
      if not self._taken(shard):
        raise

  def _taken(self, shard: int) -> bool:
    """Returns whether somebody else has written the file since `pending`.

    Raises:
      ValueError: If the folder has become another set's.
    """
    problem = self._problem(shard)
    if problem == 'it was made with other settings':
      raise ValueError(
        f'{self._path(shard)}: another run with other settings writes here; '
        'choose a folder of its own for each'
      )
    if problem is None:
      logging.info('%s: done by another process', self._path(shard))
    return problem is None

  def finish(self, wait_seconds: float) -> Mapping[str, Any] | None:
    """Writes the manifest, or waits until process 0 has.

    Args:
      wait_seconds: How long without a new file.

    Returns:
      The manifest; None in a process that isn't connected to process 0.

    Raises:
      ValueError: If the others don't deliver.
    """
    manifest = self._folder / captions_lib.MANIFEST
    if self._group.index == 0:
      self._wait_for_files(wait_seconds)
      self._clean_up()
      data = captions_lib.manifest_bytes(
        self._config,
        [captions_lib.describe_file(self._path(i)) for i in self._all()],
      )
      if not manifest.exists() or manifest.read_bytes() != data:
        files.write_bytes(manifest, data)
    elif not self._group.distributed:
      return None
    else:
      self._wait(wait_seconds, lambda: [] if manifest.exists() else [manifest])
    return captions_lib.read_manifest(self._folder)

  def _all(self) -> Sequence[int]:
    return range(self._source.num_shards)

  def _wait_for_files(self, seconds: float) -> None:
    # Connected processes have all removed their outdated files before any of
    # them got here. Where nothing else vouches for a file, look at it.
    sure = self._group.count == 1 or self._group.distributed
    missing = list(self._all())

    def still_missing() -> list[pathlib.Path]:
      missing[:] = [
        shard
        for shard in missing
        if not self._path(shard).exists()
        or not (sure or self._problem(shard) is None)
      ]
      return [self._path(shard) for shard in missing]

    self._wait(seconds, still_missing)

  def _wait(
    self, seconds: float, find_missing: Callable[[], list[pathlib.Path]]
  ) -> None:
    missing = find_missing()
    deadline = time.monotonic() + seconds
    while missing:
      if time.monotonic() > deadline:
        raise ValueError(
          f'{self._folder}: no {missing[0].name}{self._owner(missing[0])} '
          f'after {seconds:g} s without a new file ({len(missing)} missing); '
          'is that process alive? Run the same command again to go on'
        )
      time.sleep(min(0.2, seconds / 10))
      before = len(missing)
      missing = find_missing()
      if len(missing) < before:
        deadline = time.monotonic() + seconds

  def _owner(self, path: pathlib.Path) -> str:
    shards = [shard for shard in self._all() if self._path(shard) == path]
    owner = shards[0] % self._group.count if shards else 0
    return f' (process {owner})'

  def _clean_up(self) -> None:
    """Removes what interrupted runs, and other divisions, have left."""
    wanted = {self._path(shard).name for shard in self._all()}
    for name in captions_lib.find_files(self._folder):
      if name not in wanted:
        logging.warning('%s: removed, of another division', name)
        os.unlink(self._folder / name)
    for partial in files.partials(self._folder):
      partial.unlink(missing_ok=True)
