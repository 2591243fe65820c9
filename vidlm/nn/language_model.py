"""What a video VLM asks of its language model, and which there are."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Float, Int

from vidlm.nn import gemma, t5

Config = t5.T5Config | gemma.GemmaConfig


@runtime_checkable
class LanguageModel(Protocol):
  """Text from a prefix of embeddings; a linen module with `config`.

  What `encode` returns is the model's own: T5's encoder output, or the keys and
  values of a decoder-only model. It is computed once a clip and never copied
  for its samples.
  """

  def embed(self, tokens: Int[Array, 'B L']) -> Float[Array, 'B L C']:
    """Embeds token ids."""

  def forward(
    self,
    embeddings: Float[Array, 'B S C'],
    mask: Bool[Array, 'B S'],
    decoder_input_tokens: Int[Array, 'B L'],
  ) -> Float[Array, 'B L V']:
    """Returns float32 logits of whole targets (teacher forcing)."""

  def encode(
    self, embeddings: Float[Array, 'B S C'], mask: Bool[Array, 'B S']
  ) -> Any:
    """Reads the prefix."""

  def precompute_cross_kv(self, encoded: Any) -> Any:
    """Returns what every decoding step reads of it."""

  def init_cache(self, batch: int, samples: int, length: int) -> Any:
    """Returns an empty cache for the tokens of each sample."""

  def decode_step(
    self,
    tokens: Int[Array, 'B R'],
    index: Int[Array, ''],
    cache: Any,
    cross_kv: Any,
    mask: Bool[Array, 'B S'],
  ) -> tuple[Float[Array, 'B R V'], Any]:
    """Decodes one token of each of R samples a clip."""


def build(config: Config) -> LanguageModel:
  """Returns the module of a config, for use inside `setup`."""
  if isinstance(config, gemma.GemmaConfig):
    return gemma.Gemma(config)
  return t5.T5(config)
