"""Names and order of stacked layers."""

import numpy as np
import pytest

from vidlm.nn import scan_layout

FLAT = {
  'img/Transformer/encoderblock_0/LayerNorm_0/scale': np.zeros(3),
  'img/Transformer/encoderblock_1/LayerNorm_0/scale': np.ones(3),
  'img/Transformer/encoder_norm/scale': np.full(3, 7.0),
  **{f'llm/encoder/layers_{i}/mlp/wo/kernel': np.full(2, i) for i in range(11)},
}


def test_stack_orders_layers_by_number() -> None:
  stacked = scan_layout.stack(FLAT)
  assert sorted(stacked) == [
    'img/Transformer/encoder_norm/scale',
    'img/Transformer/encoderblock/LayerNorm_0/scale',
    'llm/encoder/layers/mlp/wo/kernel',
  ]
  wo = stacked['llm/encoder/layers/mlp/wo/kernel']
  np.testing.assert_array_equal(wo[:, 0], np.arange(11))


def test_unstack_is_the_inverse() -> None:
  back = scan_layout.unstack(scan_layout.stack(FLAT))
  assert back.keys() == FLAT.keys()
  for name, value in FLAT.items():
    np.testing.assert_array_equal(back[name], value)


def test_only_stacked_names_are_stacked() -> None:
  assert scan_layout.is_stacked('llm/decoder/layers/mlp/wo/kernel')
  assert scan_layout.is_stacked('Transformer/encoderblock/MlpBlock_0/x')
  assert not scan_layout.is_stacked('llm/decoder/layers_1/mlp/wo/kernel')
  assert not scan_layout.is_stacked('llm/decoder/decoder_norm/scale')


def test_missing_layer_is_an_error() -> None:
  flat = {'layers_0/a': np.zeros(1), 'layers_2/a': np.zeros(1)}
  with pytest.raises(ValueError, match=r'layers \[1\] are missing'):
    scan_layout.stack(flat)
