"""A trained dual encoder: what it was restored from, and what it embeds."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from dualenc import data, restored
from dualenc import views as views_lib
from dualenc.models import two_towers
from vidlm.core import inference, prefetch
from vidlm.data.feed import given


@dataclasses.dataclass(frozen=True, eq=False)
class Towers:
  """A trained dual encoder on all local devices.

  Each device runs one and the same compiled program of `clips_per_device` clips
  or `texts_per_device` texts, whatever the number of devices and processes.

  Attributes:
    model: `two_towers.TwoTowers`.
    params: Nested arrays {img, txt, t}.
    vocabulary: What the text tower reads.
    text_length: Tokens.
    clips_per_device: Clips a device takes at once.
    texts_per_device: Texts a device takes at once.
    devices: To run on; by default all local ones.
    checkpoint: What they were read from.
  """

  model: Any
  params: Any
  vocabulary: Any
  text_length: int
  clips_per_device: int = 32
  texts_per_device: int = 256
  devices: Sequence[Any] = ()
  checkpoint: str = 'in memory'

  def embed_text(self, texts: str | Sequence[str]) -> Float[np.ndarray, 'n E']:
    """Unit vectors of texts: a row each."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    ids = data.tokenize(self.vocabulary, texts, self.text_length)
    program = _texts(self.model, self._mesh)
    found = self._embed(program, ids, self.texts_per_device)
    return np.reshape(found, (len(found), self.model.txt.embed_dim))

  embed_texts = embed_text  # what version 0.1 called it

  def embed_video(self, clips: given.Clips) -> Float[np.ndarray, 'n E']:
    """Unit vectors of clips: a row each.

    Args:
      clips: Path of a video or an image, or frames uint8[T, H, W, 3]; or a
        list of such.

    Raises:
      FileNotFoundError: If a path leads nowhere.
      ValueError: If a file doesn't decode.
    """
    asked, _ = given.as_list(clips)
    tower = self.model.img
    shown = given.read(asked, tower.num_frames, tower.image_size)
    return self.embed_views(frames[None] for frames, _ in shown)

  def embed_frames(
    self,
    clips: Iterable[Sequence[bytes]],
    clips_per_device: int | None = None,
    views: views_lib.Views = views_lib.Views(),
  ) -> Float[np.ndarray, 'n E']:
    """Unit vectors of clips given as JPEG frames.

    Args:
      clips: The frames of each; read and decoded ahead.
      clips_per_device: Clips a device takes at once; by default the towers'.
      views: What the tower sees of each.

    Raises:
      ValueError: If there is no clip, or one without a readable frame.
    """
    found = self.embed_views(self.show(clips, views), clips_per_device)
    if not len(found):
      raise ValueError('no clip to embed')
    return found

  def show(
    self,
    clips: Iterable[Sequence[bytes]],
    views: views_lib.Views = views_lib.Views(),
  ) -> Iterator[UInt8[np.ndarray, 'V T H W 3']]:
    """Clips given as JPEG frames as the tower sees them, decoded ahead."""
    tower = self.model.img
    return prefetch.map_threads(
      lambda clip: views.frames(clip, tower.num_frames, tower.image_size),
      clips,
    )

  def embed_views(
    self,
    clips: Iterable[UInt8[np.ndarray, 'V T H W 3']],
    clips_per_device: int | None = None,
  ) -> Float[np.ndarray, 'n E']:
    """Unit vectors of clips as `show` gives them; their views are averaged."""
    size = clips_per_device or self.clips_per_device
    found = self._embed(_images(self.model, self._mesh), clips, size)
    empty = np.zeros((0, 1, self.model.img.embed_dim), np.float32)
    return views_lib.average(np.stack(found) if found else empty)

  def _embed(
    self, program: Any, rows: Iterable[np.ndarray], per_device: int
  ) -> list[np.ndarray]:
    """The one way through a tower: what it makes of each row."""

    def submit(batch: np.ndarray) -> Any:
      made = program(self._placed, inference.place_rows(batch, self._mesh))
      return lambda: np.asarray(made)

    return list(inference.run(rows, per_device * self._mesh.size, submit))

  @functools.cached_property
  def _mesh(self) -> jax.sharding.Mesh:
    return inference.local_mesh(self.devices)

  @functools.cached_property
  def _placed(self) -> Any:
    return inference.place_params(self.params, self._mesh)

  @property
  def logit_scale(self) -> float:
    """What training multiplied similarities by, the inverse temperature."""
    t = float(np.asarray(self.params['t'])[0])
    low, high = two_towers.MIN_LOG_SCALE, two_towers.MAX_LOG_SCALE
    return math.exp(min(max(t, low), high))


def load(
  checkpoint: str,
  *,
  clips_per_device: int = 8,
  texts_per_device: int = 8,
  devices: Sequence[Any] = (),
) -> Towers:
  """Restores a dual encoder to embed a few clips and texts at a time.

  Args:
    checkpoint: MODEL_DIR of a run or a checkpoint in it, a CLIP in Hugging
      Face's layout, gs:// or hf://owner/name.
    clips_per_device: See `Towers`.
    texts_per_device: See `Towers`.
    devices: See `Towers`.

  Raises:
    FileNotFoundError: If there is no finished checkpoint.
    ValueError: If it is damaged, or no dual encoder.
  """
  return load_towers(
    checkpoint,
    clips_per_device=clips_per_device,
    texts_per_device=texts_per_device,
    devices=devices,
  )


def load_towers(checkpoint: str, **options: Any) -> Towers:
  """Reads a dual encoder; clears the gin configuration.

  Args:
    checkpoint: See `restored.load_run`.
    **options: Fields of `Towers`, such as clips_per_device.

  Raises:
    FileNotFoundError: If there is no model.gin or no finished checkpoint.
    ValueError: If it is damaged, or no dual encoder.
  """
  model, params, vocabulary, length, read = restored.load_run(checkpoint)
  options['checkpoint'] = read
  return Towers(model, params, vocabulary, length, **options)


@functools.lru_cache(maxsize=8)
def _images(model: Any, mesh: jax.sharding.Mesh) -> Any:
  """The compiled program of the visual tower."""

  def images(
    params: Any, clips: UInt8[Array, 'B V T H W 3']
  ) -> Float[Array, 'B V E']:
    shown = clips.reshape(-1, *clips.shape[2:])
    zimg = model.apply({'params': params}, shown, None)[0]
    return zimg.reshape(*clips.shape[:2], -1)

  return inference.compile_rows(images, mesh)


@functools.lru_cache(maxsize=8)
def _texts(model: Any, mesh: jax.sharding.Mesh) -> Any:
  """The compiled program of the text tower."""

  def texts(params: Any, ids: Int[Array, 'P L']) -> Float[Array, 'P E']:
    return model.apply({'params': params}, None, ids)[1]

  return inference.compile_rows(texts, mesh)
