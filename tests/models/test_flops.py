"""The arithmetic of cost against figures worked out by hand."""

import jax
import pytest

from vidlm.models import flops
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn.t5 import T5Config

TERA = 1e12
CONFIG = T5Config(vocab_size=250_112)
MODEL = VideoVLM(CONFIG)


def near(value: float):
  return pytest.approx(value, rel=0.01)


def test_parts_of_the_paper() -> None:
  assert flops.vit_forward('G/14', 224) == near(963.7e9)
  assert flops.t5_encoder(CONFIG, 2056) == near(5.591 * TERA)
  assert flops.t5_cross_kv(CONFIG, 2056) == near(0.828 * TERA)
  assert flops.t5_decoder(CONFIG, 2056, 32) == near(0.100 * TERA)
  assert flops.t5_logits(CONFIG, 32) == near(0.033 * TERA)


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
