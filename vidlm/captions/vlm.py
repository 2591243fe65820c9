"""The captioner: a video VLM on all local devices."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int32, UInt8, UInt32

from vidlm.captions import captioner, identity
from vidlm.core import inference, launch
from vidlm.data.feed import first_look
from vidlm.data.feed.vocabulary import AnyVocabulary
from vidlm.models import decoding, restored, samplers

ClipCaptions = captioner.ClipCaptions
# The paper's prompt for captions (section 4.2).
PROMPT = 'Generate the alt-text:'


@dataclasses.dataclass(frozen=True, eq=False)
class VLMCaptioner:
  """Captions with a video VLM on all local devices.

  Each device runs one and the same compiled program on `clips_per_device`
  clips, whatever the number of devices and processes, so a clip's captions
  don't depend on it.

  Attributes:
    model: A `VideoVLM`, or a module with its methods.
    params: Its parameters, nested arrays.
    vocabulary: Vocabulary of prompt and captions.
    prompt: The instruction or question; by default `usual_prompt`.
    num_samples: R, captions a clip. Our choice: the paper gives no number.
    sampler: See `vidlm.models.samplers`.
    max_length: Tokens of a caption at most; our choice.
    seed: Seed of the samples.
    clips_per_device: Clips a device takes at once.
    num_frames: T.
    image_size: Pixels of a side.
    name: For the column `model`; by default the digest of the weights.
    devices: To run on; by default all local ones.
    usual_prompt: What the model was trained with; the paper's by default.
  """

  model: Any
  params: Any
  vocabulary: AnyVocabulary
  prompt: str | None = None
  num_samples: int = 4
  sampler: samplers.Sampler = samplers.Nucleus()
  max_length: int = 64
  seed: int = 0
  clips_per_device: int = 8
  num_frames: int = 8
  image_size: int = 224
  name: str = ''
  devices: Sequence[Any] = ()
  usual_prompt: str = PROMPT

  def __post_init__(self) -> None:
    if self.prompt is None:
      object.__setattr__(self, 'prompt', self.usual_prompt)
    for name in ('num_samples', 'max_length', 'clips_per_device', 'num_frames'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)}: need at least 1')
    # Greedy samples are all the same.
    if isinstance(self.sampler, samplers.Greedy) and self.num_samples > 1:
      object.__setattr__(self, 'num_samples', 1)
    if not self.name:
      digest = self.identity()['weights'][:12]
      object.__setattr__(self, 'name', f'vlm-{digest}')

  @functools.cached_property
  def mesh(self) -> jax.sharding.Mesh:
    """The local devices, in one row."""
    return inference.local_mesh(self.devices)

  @property
  def batch_size(self) -> int:
    """Clips of all local devices."""
    return self.clips_per_device * self.mesh.size

  def identity(self) -> Mapping[str, Any]:
    """See `Captioner`; two backends are two identities, as rounding differs."""
    return {**self._identity, 'model': self.name}

  @functools.cached_property
  def _identity(self) -> Mapping[str, Any]:
    device = self.mesh.devices.flat[0]
    settings = {
      name: getattr(self, name)
      for name in (
        'prompt',
        'num_samples',
        'max_length',
        'seed',
        'clips_per_device',
        'num_frames',
        'image_size',
      )
    }
    return {
      **settings,
      'sampler': identity.describe(self.sampler),
      'architecture': identity.describe(self.model),
      'weights': identity.weights_digest(self.params),
      'vocabulary': identity.file_digest(self.vocabulary.path),
      'extra_ids': self.vocabulary.extra_ids,
      'prompt_format': self.vocabulary.prompt_format,
      'backend': f'{device.platform} {device.device_kind}',
      'jax': jax.__version__,
    }

  def submit(
    self,
    frames: UInt8[np.ndarray, 'B T H W 3'],
    frame_mask: Bool[np.ndarray, 'B T'],
    ids: UInt32[np.ndarray, 'B'],
    prompts: Int32[np.ndarray, 'B P'] | None = None,
  ) -> Callable[[], list[ClipCaptions]]:
    """See `Captioner`; with `prompts`, a prompt a clip (`prompt_tokens`)."""
    if prompts is None:
      # Framed as in training.
      prompt = self.vocabulary.prompt(self.prompt or '')
      prompts = np.tile(np.array(prompt, np.int32), (len(frames), 1))
    batch = {
      'frames': frames,
      'frame_mask': frame_mask,
      'encoder_input_tokens': prompts,
    }
    keys = _sample_keys(self.seed, jnp.asarray(ids), self.num_samples)
    program = _program(
      self.model, self.sampler, self.num_samples, self.max_length, self.mesh
    )
    rows = inference.place_rows((batch, keys), self.mesh)
    samples = program(self._placed_params, rows)
    return lambda: self._texts(samples)

  @functools.cached_property
  def _placed_params(self) -> Any:
    return inference.place_params(self.params, self.mesh)

  def _texts(self, samples: decoding.Samples) -> list[ClipCaptions]:
    tokens, logprobs, lengths = jax.device_get(
      (samples.tokens, samples.logprobs, samples.lengths)
    )
    return [
      ClipCaptions(
        [self.vocabulary.decode(ids) for ids in tokens[row].tolist()],
        logprobs[row].tolist(),
        lengths[row].tolist(),
      )
      for row in range(len(tokens))
    ]


_sample_keys = jax.jit(decoding.sample_keys, static_argnums=(0, 2))


# Models of one architecture, other prompts and seeds share a program.
@functools.lru_cache(maxsize=16)
def _program(
  model: Any,
  sampler: samplers.Sampler,
  num_samples: int,
  max_length: int,
  mesh: jax.sharding.Mesh,
) -> Callable[..., decoding.Samples]:
  """Returns the compiled program of a batch and its keys."""

  def sample(params: Any, rows: tuple[Any, Array]) -> decoding.Samples:
    batch, keys = rows
    return decoding.sample(
      model,
      params,
      batch,
      sampler=sampler,
      num_samples=num_samples,
      max_length=max_length,
      keys=keys,
    )

  return inference.compile_rows(sample, mesh)


def prompt_length(vocabulary: Any, prompts: Iterable[str]) -> int:
  """Returns the longest prompt's tokens, rounded up: fewer compilations."""
  longest = max((len(vocabulary.prompt(p)) for p in set(prompts)), default=1)
  return -(-longest // 8) * 8


def prompt_tokens(
  vocabulary: AnyVocabulary, prompts: Sequence[str]
) -> Int32[np.ndarray, 'n P']:
  """Returns prompts, framed as in training, as rows of one length.

  Padding is masked, but the length decides about rounding: give all prompts of
  a job at once.
  """
  rows = np.zeros((len(prompts), prompt_length(vocabulary, prompts)), np.int32)
  for row, text in zip(rows, prompts, strict=True):
    ids = vocabulary.prompt(text)
    row[: len(ids)] = ids
  return rows


def of_restored(vlm: restored.RestoredVLM, **options: Any) -> VLMCaptioner:
  """Returns a captioner of a restored model; options as of `VLMCaptioner`."""
  made = launch.bound(VLMCaptioner)(
    model=vlm.objective.model,
    params=vlm.params,
    vocabulary=vlm.vocabulary,
    usual_prompt=vlm.prompt('caption'),
    **{'num_frames': vlm.num_frames, 'image_size': vlm.image_size, **options},
  )
  first_look.say_prompt(made.prompt, vlm.vocabulary)
  return made
