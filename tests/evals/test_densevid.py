"""ActivityNet's own protocol, against pycocoevalcap's scorer run per video."""

import pytest

from vidlm.evals import captioning, densevid, ptb

S = densevid.Segment
_TRUTHS = {
  'v_a': [S(0, 10, 'a man runs'), S(8, 30, 'a dog jumps over it'),
          S(0, 9.5, 'the man is running fast')],
  'v_b': [S(0, 5, 'two boys play'), S(5, 9, 'they stop')],
}  # fmt: skip
_PREDICTIONS = {
  'v_a': [S(0, 10, 'a man runs'), S(8, 30, 'a cat jumps over'),
          S(0, 9.5, 'a man is running')],
  'v_b': [S(0, 5, 'two boys play'), S(5, 9, 'they walk off')],
}  # fmt: skip


def test_overlap():
  assert densevid.iou(S(0, 10, ''), S(0, 10, '')) == pytest.approx(1)
  assert densevid.iou(S(0, 10, ''), S(5, 15, '')) == pytest.approx(1 / 3)
  assert densevid.iou(S(0, 1, ''), S(5, 15, '')) == 0


def test_equals_scorers_run_per_video():
  """Pairs written out by hand at 0.9: a third overlaps the first by 0.95."""
  cider = pytest.importorskip('pycocoevalcap.cider.cider')
  pairs = {
    'v_a': [('a man runs', 'a man runs'),
            ('a man runs', 'the man is running fast'),
            ('a cat jumps over', 'a dog jumps over it'),
            ('a man is running', 'a man runs'),
            ('a man is running', 'the man is running fast')],
    'v_b': [('two boys play', 'two boys play'),
            ('they walk off', 'they stop')],
  }  # fmt: skip
  expected = []
  for items in pairs.values():
    truths = {i: [t] for i, (_, t) in enumerate(items)}
    said = {i: [p] for i, (p, _) in enumerate(items)}
    expected.append(cider.Cider().compute_score(truths, said)[0])
  scores = densevid.evaluate_densevid(_PREDICTIONS, _TRUTHS, tious=[0.9])
  assert scores['cider'] == pytest.approx(sum(expected) / 2, abs=1e-9)
  assert scores['by_tiou']['0.9']['cider'] == scores['cider']
  assert (scores['n'], scores['n_sentences']) == (2, 5)
  assert scores['protocol']['tokenizer'] == ptb.NAME


def test_is_not_the_protocol_per_segment():
  flat = [
    {f'{v}{i}': segment.sentence for v in p for i, segment in enumerate(p[v])}
    for p in (_PREDICTIONS, _TRUTHS)
  ]
  segments = captioning.evaluate_captions(
    flat[0], {key: [text] for key, text in flat[1].items()}
  )
  videos = densevid.evaluate_densevid(_PREDICTIONS, _TRUTHS)
  assert segments['cider'] != pytest.approx(videos['cider'], rel=0.01)
  wording = [s['protocol']['document_frequency'] for s in (segments, videos)]
  assert wording[0] != wording[1]


def test_a_sentence_that_overlaps_nothing_is_worth_nothing():
  far = {**_PREDICTIONS, 'v_b': [S(100, 200, 'two boys play')]}
  scores = densevid.evaluate_densevid(far, _TRUTHS)
  rest = densevid.evaluate_densevid(
    {'v_a': _PREDICTIONS['v_a']}, {'v_a': _TRUTHS['v_a']}
  )
  assert scores['cider'] == pytest.approx(rest['cider'] / 2)


def test_a_missing_video_is_refused_or_scores_zero():
  some = {'v_a': _PREDICTIONS['v_a']}
  with pytest.raises(ValueError, match=r"1 are missing \('v_b'\)"):
    densevid.evaluate_densevid(some, _TRUTHS)
  allowed = densevid.evaluate_densevid(some, _TRUTHS, allow=['missing'])
  alone = densevid.evaluate_densevid(some, {'v_a': _TRUTHS['v_a']})
  assert allowed['cider'] == pytest.approx(alone['cider'] / 2)
  assert allowed['protocol']['n_missing_scored_as_empty'] == 1


def test_no_more_proposals_than_the_script_takes():
  said = [S(0, 10, 'a man runs')] * densevid.MAX_PROPOSALS
  more = [*said, S(0, 10, 'a man runs fast')]
  scores = [
    densevid.evaluate_densevid({'v': p}, {'v': [S(0, 10, 'a man runs fast')]})
    for p in (said, more)
  ]
  assert scores[0] == scores[1]
  assert scores[1]['n_sentences'] == 1000
