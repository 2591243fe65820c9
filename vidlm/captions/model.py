"""A video VLM that is asked from Python: a path or frames in, texts out."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import Bool, UInt8, UInt32

from vidlm.captions import captioner as captioner_lib
from vidlm.captions import vlm as vlm_lib
from vidlm.core import inference
from vidlm.data.feed import given
from vidlm.models import restored, samplers


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionModel:
  """A restored model on all local devices.

  Attributes:
    vlm: What was restored.
    num_frames: T frames of a clip are looked at.
    clips_per_device: Clips a device takes at once, always so many: fewer are
      padded, and another number rounds differently. With many clips at a time
      more are quicker.
    devices: To run on; by default all local ones.
  """

  vlm: restored.RestoredVLM
  num_frames: int
  clips_per_device: int = 1
  devices: Sequence[Any] = ()

  @overload
  def caption(
    self,
    clips: given.Clip,
    prompt: str | None = None,
    num_samples: int = 1,
    *,
    max_length: int = 64,
    sampler: samplers.Sampler | None = None,
    seed: int = 0,
  ) -> list[str]: ...

  @overload
  def caption(
    self,
    clips: list | tuple,
    prompt: str | Sequence[str] | None = None,
    num_samples: int = 1,
    *,
    max_length: int = 64,
    sampler: samplers.Sampler | None = None,
    seed: int = 0,
  ) -> list[list[str]]: ...

  def caption(
    self,
    clips: given.Clips,
    prompt: str | Sequence[str] | None = None,
    num_samples: int = 1,
    *,
    max_length: int = 64,
    sampler: samplers.Sampler | None = None,
    seed: int = 0,
  ) -> list[str] | list[list[str]]:
    """Describes clips, or answers a question about them.

    A text depends on the frames, the model and these arguments alone: the keys
    of samples are made from the frames.

    Args:
      clips: Path of a video or an image, or frames uint8[T, H, W, 3]; or a
        list of such.
      prompt: Your own instruction, such as 'Answer in en: what falls?', for all
        clips or one each; by default what the model was
        trained with, or else the paper's for captions.
      num_samples: Texts a clip.
      max_length: Tokens of a text at most.
      sampler: See `vidlm.models.samplers`; by default the likeliest text, or,
        of several, nucleus samples.
      seed: Seed of the samples.

    Returns:
      The texts of the clip; of a list of clips a list each.

    Raises:
      FileNotFoundError: If a path leads nowhere.
      ValueError: If a file doesn't decode, or an argument makes no sense.
    """
    asked, alone = given.as_list(clips)
    prompts = None if prompt is None or isinstance(prompt, str) else [*prompt]
    if prompts is not None and len(prompts) != len(asked):
      raise ValueError(
        f'prompt: {len(prompts)} for {len(asked)} clips; give one for all, or '
        'one each'
      )
    if sampler is None:
      one = num_samples == 1
      sampler = samplers.Greedy() if one else samplers.Nucleus()
    elif isinstance(sampler, samplers.Greedy) and num_samples > 1:
      raise ValueError(
        f'num_samples={num_samples}: greedy text is always the same; give '
        'another sampler'
      )
    captioner = self._captioner(
      prompt=prompt if isinstance(prompt, str) else None,
      usual_prompt=self.vlm.prompt('caption'),
      num_samples=num_samples,
      max_length=max_length,
      sampler=sampler,
      seed=seed,
    )
    said = inference.run(
      self._rows(asked, prompts),
      captioner.batch_size,
      lambda batch: captioner.submit(*batch),
    )
    texts = [_sound(clip) for clip in said]
    return texts[0] if alone else texts

  def _rows(
    self, clips: Sequence[given.Clip], prompts: Sequence[str] | None
  ) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields frames, mask, id, and the prompt if each has its own."""
    tokens: Any = [()] * len(clips)
    if prompts is not None:
      padded = vlm_lib.prompt_tokens(self.vlm.vocabulary, prompts)
      tokens = [(row,) for row in padded]
    shown = given.read(clips, self.num_frames, self.vlm.image_size)
    for (frames, mask), prompt in zip(shown, tokens, strict=True):
      yield frames, mask, _content_id(frames, mask), *prompt

  def _captioner(self, **options: Any) -> vlm_lib.VLMCaptioner:
    return vlm_lib.VLMCaptioner(
      self.vlm.objective.model,
      self._params,
      self.vlm.vocabulary,
      clips_per_device=self.clips_per_device,
      num_frames=self.num_frames,
      image_size=self.vlm.image_size,
      name=self.vlm.checkpoint,
      devices=self.devices,
      **options,
    )

  @functools.cached_property
  def _params(self) -> Any:
    # Placed once, however often the captioner is made anew.
    return inference.place_params(
      self.vlm.params, inference.local_mesh(self.devices)
    )


def load(
  checkpoint: str,
  *,
  num_frames: int | None = None,
  clips_per_device: int = 1,
  devices: Sequence[Any] = (),
) -> CaptionModel:
  """Restores a video VLM; clears the gin configuration.

  Args:
    checkpoint: MODEL_DIR of a run or a checkpoint in it, a folder in Hugging
      Face's layout, gs:// or hf://owner/name.
    num_frames: T; by default as in training.
    clips_per_device: See `CaptionModel`.
    devices: See `CaptionModel`.

  Raises:
    FileNotFoundError: If there is no finished checkpoint.
    ValueError: If it is damaged, or no video VLM.
  """
  vlm = restored.load_vlm(checkpoint)
  return CaptionModel(
    vlm, num_frames or vlm.num_frames, clips_per_device, devices
  )


def _sound(clip: captioner_lib.ClipCaptions) -> list[str]:
  """Returns the texts of a clip, if the model computed any."""
  if not np.all(np.isfinite(clip.logprobs)):
    raise ValueError(
      'caption: a log-probability is not finite; are the weights sound?'
    )
  return list(clip.captions)


def _content_id(
  frames: UInt8[np.ndarray, 'T H W 3'], mask: Bool[np.ndarray, ' T']
) -> UInt32[np.ndarray, '']:
  """Returns what the keys are folded from: the same for the same frames."""
  digest = hashlib.blake2b(frames.tobytes(), digest_size=4)
  digest.update(mask.tobytes())
  return np.frombuffer(digest.digest(), np.uint32)[0, ...]
