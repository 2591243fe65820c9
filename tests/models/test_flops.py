"""The arithmetic of cost against figures worked out by hand."""

import jax
import pytest

from vidlm.models import flops
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import flops as layer_flops
from vidlm.nn.gemma import GemmaConfig
from vidlm.nn.t5 import T5Config

TERA = 1e12
CONFIG = T5Config(vocab_size=250_112)
MODEL = VideoVLM(CONFIG)


def near(value: float):
  return pytest.approx(value, rel=0.01)


def test_parts_of_the_paper() -> None:
  assert layer_flops.vit_forward('G/14', 224) == near(963.7e9)
  assert layer_flops.t5_encoder(CONFIG, 2056) == near(5.591 * TERA)
  assert layer_flops.t5_cross_kv(CONFIG, 2056) == near(0.828 * TERA)
  assert layer_flops.t5_decoder(CONFIG, 2056, 32) == near(0.100 * TERA)
  assert layer_flops.t5_logits(CONFIG, 32) == near(0.033 * TERA)


def test_forward_of_a_clip() -> None:
  parts = flops.video_vlm(MODEL, 8, text_length=8, target_length=32)
  assert sum(p.forward for p in parts) == near(14.275 * TERA)


@pytest.mark.parametrize(
  ('inputs', 'targets', 'pattern', 'tera'),
  [
    (8, 32, '', 42.83),
    (8, 32, 'img/', 36.27),  # Stage 1.
    (40, 64, 'llm/', 28.13),  # Stage 2.
    (40, 64, 'llm/encoder/', 27.00),  # Stage 2, only the language encoder.
    (8, 32, 'nothing', 14.275),
  ],
)
def test_training_steps(inputs, targets, pattern, tera) -> None:
  task = VLMObjective(MODEL, 8, {'inputs': inputs, 'targets': targets})
  per_step = task.flops_per_step(64, lambda n: n.startswith(pattern))
  assert per_step == near(64 * tera * TERA)


def test_a_trained_token_table_sends_gradients_through_the_encoder() -> None:
  task = VLMObjective(MODEL, 8, {'inputs': 8, 'targets': 32})
  table = task.flops_per_step(1, lambda n: 'token_embedder' in n)
  parts = {p.name: p.forward for p in flops.video_vlm(MODEL, 8, 8, 32)}
  image = parts['image encoder'] + parts['projection']
  assert table == near(image + 2 * (sum(parts.values()) - image))


def test_more_samples_cost_only_decoding() -> None:
  one = flops.captioning(MODEL, 8, 8, 32, num_samples=1)
  four = flops.captioning(MODEL, 8, 8, 32, num_samples=4)
  extra = sum(four.values()) - sum(one.values())
  assert extra == near(3 * (one['decoder'] + one['logits']))
  assert extra / sum(one.values()) < 0.03


def test_parameter_names_make_no_parameters() -> None:
  live = len(jax.live_arrays())
  names = VLMObjective(MODEL).parameter_names()
  assert 'llm/decoder/layers/mlp/wi_0/kernel' in names
  assert len(jax.live_arrays()) <= live + 1


def test_gemma_flops_by_hand() -> None:
  """PaliGemma on 8 frames: 2,048 visual tokens, 16 of a prompt, 32 targets."""
  model = VideoVLM(GemmaConfig(vocab_size=257_216), 'So400m/14')
  parts = {p.name: p.forward for p in flops.video_vlm(model, 8, 16, 32)}
  # A layer has 110,100,480 weights in its products, and 8 heads of 256.
  prefix = 18 * (2 * 2064 * 110_100_480 + 4 * 2064**2 * 2048)
  assert parts['prefix'] == prefix
  suffix = 18 * (2 * 31 * 110_100_480 + 4 * 31 * 2095 * 2048)
  assert parts['decoder'] == suffix
  assert parts['logits'] == 2 * 32 * 2048 * 257_216
  assert parts['projection'] == 2 * 2048 * 1152 * 2048
  image = 8 * layer_flops.vit_forward('So400m/14', 224)
  assert parts['image encoder'] == image == near(8 * 220 * 1e9)
  task = VLMObjective(model, 8, {'inputs': 16, 'targets': 32})
  visual = task.flops_per_step(64, lambda n: n.startswith('img/'))
  rest = prefix + suffix + parts['logits']
  # Frozen, it still passes gradients on: twice its forward pass.
  want = 64 * (3 * (image + parts['projection']) + 2 * rest)
  assert visual == want == near(1.487e15)
  language = task.flops_per_step(64, lambda n: n.startswith('llm/'))
  assert language == 64 * (image + parts['projection'] + 3 * rest)


def test_gemma_samples_share_the_prefix() -> None:
  model = VideoVLM(GemmaConfig(), 'So400m/14')
  one = flops.captioning(model, 8, 16, 32, num_samples=1)
  four = flops.captioning(model, 8, 16, 32, num_samples=4)
  assert four['prefix'] == one['prefix']
  assert four['decoder'] == 4 * one['decoder']
