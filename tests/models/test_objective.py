"""Loss, its options, and the shapes of a batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidlm.models.objective import (
  LOSS_NORMALIZING_FACTORS,
  VLMObjective,
  cross_entropy,
)
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import t5


class FixedLogits(VideoVLM):
  """Answers with the batch's own logits."""

  def __call__(self, batch):
    return batch['logits']


V = 7
RNG = np.random.default_rng(0)
BATCH = {
  'logits': jnp.asarray(RNG.normal(size=(2, 4, V)), jnp.float32),
  'decoder_target_tokens': jnp.asarray([[3, 4, 1, 0], [5, 1, 0, 0]]),
  'decoder_loss_weights': jnp.asarray([[1, 1, 1, 0], [1, 1, 0, 0.0]]),
}
TASK = VLMObjective(FixedLogits())


def token_losses() -> np.ndarray:
  logits = np.asarray(BATCH['logits'], np.float64)
  log_z = np.log(np.exp(logits).sum(-1))
  targets = np.asarray(BATCH['decoder_target_tokens'])
  return log_z - np.take_along_axis(logits, targets[..., None], -1)[..., 0]


def loss(**kwargs):
  task = dataclasses.replace(TASK, **kwargs)
  return task.loss_fn({}, BATCH, jax.random.key(0))


def test_mean_over_real_tokens_of_minus_log_p() -> None:
  weights = np.asarray(BATCH['decoder_loss_weights'])
  want = (token_losses() * weights).sum() / 5
  value, metrics = loss()
  assert value == pytest.approx(want, rel=1e-5)
  assert metrics['loss'] == value
  assert metrics['target_tokens'] == 5
  hits = np.argmax(BATCH['logits'], -1) == BATCH['decoder_target_tokens']
  assert metrics['accuracy'] == pytest.approx((hits * weights).sum() / 5)


def test_average_per_sequence() -> None:
  rows = token_losses()
  want = (rows[0, :3].mean() + rows[1, :2].mean()) / 2
  value, _ = loss(loss_normalizing_factor='AVERAGE_PER_SEQUENCE')
  assert value == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize('factor', LOSS_NORMALIZING_FACTORS)
def test_batches_scored_one_by_one_give_the_loss_of_all(factor) -> None:
  task = dataclasses.replace(TASK, loss_normalizing_factor=factor, z_loss=0.1)
  _, whole = task.loss_fn({}, BATCH, None)
  sums = dict.fromkeys(('loss', 'accuracy'), np.zeros(2))
  for row in range(2):
    # The other row only fills the batch up.
    real = jnp.arange(2) == row
    for name, (mean, weight) in task.eval_fn({}, BATCH, real).items():
      sums[name] = sums[name] + np.array([mean * weight, weight])
  for name, (total, weight) in sums.items():
    assert total / weight == pytest.approx(float(whole[name]), rel=1e-5)


def test_no_dropout_where_nothing_trains(monkeypatch) -> None:
  config = t5.T5Config(dropout_rate=0.5)
  task = VLMObjective(FixedLogits(llm_config=config))
  seen = []
  apply = FixedLogits.apply

  def spy(self, variables, batch, rngs):
    seen.append(rngs)
    return apply(self, variables, batch)

  monkeypatch.setattr(FixedLogits, 'apply', spy)
  task.loss_fn({}, BATCH, jax.random.key(0))
  task.eval_fn({}, BATCH, jnp.ones(2, bool))
  assert list(seen[0]) == ['dropout'] and seen[1] == {}


def test_z_loss_is_added_to_what_is_trained_not_to_the_metric() -> None:
  plain, _ = loss()
  value, metrics = loss(z_loss=0.1)
  assert value > plain
  assert metrics['loss'] == pytest.approx(float(plain), rel=1e-6)


def test_the_log_says_what_its_loss_is() -> None:
  assert TASK.loss_says == 'cross-entropy per target token'
  task = dataclasses.replace(TASK, z_loss=1e-4, label_smoothing=0.1)
  said = task.loss_says
  assert 'label smoothing 0.1' in said and 'without z-loss' in said
  assert 'z_loss' in loss(z_loss=0.1)[1] and 'z_loss' not in loss()[1]


def test_label_smoothing_equals_soft_targets() -> None:
  smoothing = 0.1
  logits, targets = BATCH['logits'], BATCH['decoder_target_tokens']
  got, _ = cross_entropy(logits, targets, smoothing)
  soft = np.full((2, 4, V), smoothing / (V - 1))
  np.put_along_axis(soft, np.asarray(targets)[..., None], 1 - smoothing, -1)
  logprobs = np.asarray(jax.nn.log_softmax(logits))
  want = (soft * (np.log(soft) - logprobs)).sum(-1)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_an_empty_batch_gives_zero() -> None:
  batch = BATCH | {'decoder_loss_weights': jnp.zeros((2, 4))}
  value, metrics = TASK.loss_fn({}, batch, jax.random.key(0))
  assert value == metrics['accuracy'] == 0.0


def test_batch_shapes() -> None:
  task = VLMObjective(VideoVLM(), 8, {'inputs': 40, 'targets': 64})
  shapes = task.batch_shapes(256)
  assert {k: (v.shape, v.dtype.name) for k, v in shapes.items()} == {
    'frames': ((256, 8, 224, 224, 3), 'uint8'),
    'frame_mask': ((256, 8), 'bool'),
    'encoder_input_tokens': ((256, 40), 'int32'),
    'decoder_input_tokens': ((256, 64), 'int32'),
    'decoder_target_tokens': ((256, 64), 'int32'),
    'decoder_loss_weights': ((256, 64), 'float32'),
  }


@pytest.mark.parametrize(
  ('kwargs', 'message'),
  [
    ({'loss_normalizing_factor': 'SUM'}, 'NUM_REAL_TARGET_TOKENS'),
    ({'task_feature_lengths': {'inputs': 4}}, 'targets'),
  ],
)
def test_bad_settings_are_errors(kwargs, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(TASK, **kwargs)
