"""Samplers draw from the distributions they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidlm.models import samplers


def nucleus_by_sorting(logits: np.ndarray, top_p: float) -> np.ndarray:
  """big_vision's rule: keep the token that crosses p, and ties with it."""
  ordered = np.sort(logits.astype(np.float64))[::-1]
  probs = np.exp(ordered - ordered.max())
  mass = np.cumsum(probs / probs.sum())
  cutoff = ordered[min((mass < top_p).sum(), len(logits) - 1)]
  return logits >= cutoff


@pytest.mark.parametrize('top_p', [1e-6, 0.3, 0.5, 0.9, 0.999])
def test_nucleus_keeps_what_sorting_keeps(top_p: float) -> None:
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(8, 1000)).astype(np.float32) * 3
  logits[0] = np.round(logits[0])  # Ties.
  logits[1, 1:] = -np.inf  # One possible token.
  logits[2] = 0.0  # All alike.
  kept = np.isfinite(samplers.nucleus_logits(jnp.asarray(logits), top_p))
  for row, got in zip(logits, kept, strict=True):
    want = nucleus_by_sorting(row, top_p) & np.isfinite(row)
    np.testing.assert_array_equal(got, want)


def test_top_p_of_one_keeps_all() -> None:
  logits = jnp.asarray([0.0, -50.0, 3.0])
  np.testing.assert_array_equal(samplers.nucleus_logits(logits, 1.0), logits)


def test_nucleus_holds_its_mass_and_not_a_token_more() -> None:
  probs = np.array([0.5, 0.3, 0.15, 0.05], np.float32)
  logits = jnp.log(jnp.asarray(probs))
  for top_p, size in [(0.4, 1), (0.5001, 2), (0.79, 2), (0.81, 3), (0.96, 4)]:
    kept = np.isfinite(samplers.nucleus_logits(logits, top_p))
    assert kept.sum() == size
    assert probs[kept].sum() >= top_p > probs[kept][:-1].sum()


def test_temperature_comes_before_top_p() -> None:
  logits = jnp.log(jnp.asarray([0.5, 0.3, 0.2]))
  cold = samplers.Nucleus(top_p=0.7, temperature=0.3)  # 0.81, 0.15, 0.04.
  keys = jax.random.split(jax.random.key(0), 200)
  assert set(np.asarray(jax.vmap(lambda k: cold(logits, k))(keys))) == {0}


def test_nucleus_frequencies() -> None:
  probs = np.array([0.5, 0.3, 0.15, 0.05])
  sampler = samplers.Nucleus(top_p=0.9, temperature=1.0)
  keys = jax.random.split(jax.random.key(1), 20_000)
  logits = jnp.log(jnp.asarray(probs, jnp.float32))
  ids = jax.vmap(lambda k: sampler(logits, k))(keys)
  got = np.bincount(ids, minlength=4) / len(ids)
  np.testing.assert_allclose(
    got, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0], atol=0.015
  )


def test_greedy_and_top_1_take_the_maximum() -> None:
  logits = jax.random.normal(jax.random.key(0), (5, 50))
  want = np.argmax(logits, axis=-1)
  key = jax.random.key(1)
  np.testing.assert_array_equal(samplers.Greedy()(logits, key), want)
  np.testing.assert_array_equal(samplers.TopK(k=1)(logits, key), want)


def test_top_k_draws_among_k() -> None:
  logits = jnp.arange(10.0) / 10
  keys = jax.random.split(jax.random.key(0), 300)
  ids = jax.vmap(lambda k: samplers.TopK(k=3)(logits, k))(keys)
  assert set(np.asarray(ids)) == {7, 8, 9}


def test_temperature_one_is_the_model() -> None:
  probs = jnp.asarray([0.7, 0.2, 0.1])
  keys = jax.random.split(jax.random.key(0), 20_000)
  ids = jax.vmap(lambda k: samplers.Temperature()(jnp.log(probs), k))(keys)
  np.testing.assert_allclose(np.bincount(ids) / len(ids), probs, atol=0.015)


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: samplers.Nucleus(top_p=0.0), 'top_p'),
    (lambda: samplers.Nucleus(temperature=0.0), 'Greedy'),
    (lambda: samplers.Temperature(-1.0), 'Greedy'),
    (lambda: samplers.TopK(k=0), 'k must be'),
  ],
)
def test_impossible_settings_are_errors(make, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    make()
