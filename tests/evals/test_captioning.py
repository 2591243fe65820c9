"""Caption scores end to end: ids, protocol, and pycocoevalcap's figure."""

import shutil

import pytest

from vidlm.evals import captioning

_TRUTHS = {
  'a': ["A red ball isn't rolling left.", 'the ball stays'],
  'b': ['The dog (brown) jumps over it!'],
  'c': ['Two boxes fall, one after another'],
}
_PREDICTIONS = {
  'a': 'a red ball rolls left',
  'b': 'the dog jumps',
  'c': 'Two boxes fall.',
}


def test_score_and_protocol():
  result = captioning.evaluate_captions(
    _PREDICTIONS, _TRUTHS, split='test', decoding='nucleus 0.95'
  )
  assert 0 < result['cider'] < 10
  assert result['n'] == 3
  assert result['mean_words'] == pytest.approx((5 + 3 + 3) / 3)
  assert list(result['cider_per_item']) == ['a', 'b', 'c']
  protocol = result['protocol']
  assert protocol['split'] == 'test'
  assert protocol['decoding'] == 'nucleus 0.95'
  assert (protocol['n_scored'], protocol['n_annotated']) == (3, 3)
  assert protocol['references_per_item']['max'] == 2
  assert 'ptb' in protocol['tokenizer']


def test_order_of_predictions_does_not_matter():
  turned = dict(reversed(_PREDICTIONS.items()))
  assert captioning.evaluate_captions(
    turned, _TRUTHS
  ) == captioning.evaluate_captions(_PREDICTIONS, _TRUTHS)


@pytest.mark.skipif(shutil.which('java') is None, reason='no java')
def test_equals_pycocoevalcap_with_its_tokenizer():
  cider = pytest.importorskip('pycocoevalcap.cider.cider')
  ptb = pytest.importorskip('pycocoevalcap.tokenizer.ptbtokenizer')
  tokenize = ptb.PTBTokenizer().tokenize
  truths = {k: [{'caption': c} for c in v] for k, v in _TRUTHS.items()}
  predictions = {k: [{'caption': v}] for k, v in _PREDICTIONS.items()}
  score, _ = cider.Cider().compute_score(
    tokenize(truths), tokenize(predictions)
  )
  ours = captioning.evaluate_captions(_PREDICTIONS, _TRUTHS)['cider']
  assert abs(ours - score) <= 1e-9


def test_unavailable_ids_are_reported_not_scored():
  predictions = {k: v for k, v in _PREDICTIONS.items() if k != 'c'}
  result = captioning.evaluate_captions(predictions, _TRUTHS, unavailable=['c'])
  assert result['n'] == 2
  assert result['protocol']['n_annotated'] == 3
  assert result['protocol']['unavailable_ids'] == ['c']


@pytest.mark.parametrize(
  'predictions, unavailable, message',
  [
    ({'a': 'x'}, (), r"2 are missing \('b', 'c'\)"),
    ({**_PREDICTIONS, 'z': 'x'}, (), r"1 are not to be scored \('z'\)"),
    (_PREDICTIONS, ('c',), r"1 are not to be scored \('c'\)"),
    (_PREDICTIONS, ('q',), "1 unavailable ids are not annotated: 'q'"),
    (
      [*_PREDICTIONS.items(), ('a', 'x')],
      (),
      "1 ids occur more than once .*'a'",
    ),
    ({}, ('a', 'b', 'c'), 'nothing to score'),
  ],
)
def test_wrong_ids_are_refused(predictions, unavailable, message: str):
  with pytest.raises(ValueError, match=message):
    captioning.evaluate_captions(predictions, _TRUTHS, unavailable=unavailable)


def test_item_without_reference_is_refused():
  with pytest.raises(ValueError, match=r"no reference caption: \['a'\]"):
    captioning.evaluate_captions({'a': 'x'}, {'a': []})
