"""What a set keeps of its rows is counted, said, and refused if it's nothing.

The kinds of fault: ids that don't match, texts that are blank or null, limits.
"""

import dataclasses
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm.data.feed import batches, coverage, examples, tasks

LENGTHS = {'inputs': 40, 'targets': 40}


def ask(clip_id, question='what falls', answer='a bar', kind='short'):
  return dict(clip_id=clip_id, question=question, answer=answer, kind=kind)


def feed(task, **options):
  frames = tasks.FrameOptions(1, 8)
  config = batches.DatasetConfig(task, LENGTHS, 2, 0, frames, **options)
  return batches.make_feed(config, 1)


def test_a_join_that_keeps_two_of_two_hundred_clips(sets, words, logged):
  clips = sets.clips([{}] * 200)
  # The same ids, but for two: another scheme of names.
  named = [f'c{i}' if i < 2 else f'c{i}.mp4' for i in range(200)]
  captions = sets.captions({name: ['a bar falls'] for name in named})
  asked = sets.instructions([ask(name) for name in named])
  for kind, texts in (('caption', captions), ('question', asked)):
    task = tasks.ClipTask('joined', words, '', clips, kind=kind, texts=texts)
    with pytest.raises(
      ValueError, match='task joined: only 1 % was taken'
    ) as e:
      feed(task)
    assert '198 that name no clip of the set left out' in str(e.value)
    assert 'ALLOW_MISSING=True' in str(e.value)
    logged()
    assert len(next(feed(task, allow_missing=True)(0))['frames']) == 2
    (line,) = [x for x in logged() if x.startswith('WARNING: task joined')]
    assert '2 examples; ' in line and '2 of 200 ' in line


def test_captions_of_another_set_are_told_by_either_side(sets, words):
  # Two clips, both captioned: but 198 captions are of something else.
  clips = sets.clips([{}] * 2)
  captions = sets.captions({f'c{i}': ['a bar'] for i in range(200)})
  task = tasks.ClipTask('few', words, '', clips, texts=captions)
  with pytest.raises(ValueError, match=r'2 of 2 clips .*; 2 of 200 rows'):
    feed(task)


def test_what_nobody_asked_for_is_not_missing(sets, words, logged):
  clips = sets.clips([{}] * 20)
  sets.clips([{'clip_id': f'v{i}'} for i in range(400)], 'val')
  names = [f'c{i}' for i in range(20)] + [f'v{i}' for i in range(400)]
  captions = sets.captions({name: ['a bar falls'] for name in names})
  rows = [ask(n) for n in names] + [ask('gone', kind='causal')] * 400
  asked = sets.instructions(rows)
  task = tasks.ClipTask('part', words, '', clips, texts=captions, limit=3)
  assert len(task.examples()) == 3
  assert task.examples().coverage.part == 1.0
  task = dataclasses.replace(
    task, kind='question', texts=asked, kinds=('short',), limit=None
  )
  assert task.examples().coverage.part == 1.0 and len(task.examples()) == 20
  feed(task)
  assert not [line for line in logged() if 'WARNING' in line]


@pytest.mark.parametrize(
  ('with_text', 'level'), [(18, ''), (17, 'WARNING: '), (2, 'WARNING: ')]
)
def test_every_set_says_what_it_has(sets, words, logged, with_text, level):
  texts = [{'texts': ('a bar falls',)}] * with_text + [{}] * (20 - with_text)
  task = tasks.ClipTask('own', words, '', sets.clips(texts))
  feed(task)
  (line,) = [x for x in logged() if 'task own' in x]
  assert line.startswith(f'{level}task own: ')
  assert f'{with_text} of 20 clips' in line
  assert f'({20 - with_text} without a caption left out)' in line
  with pytest.raises(ValueError, match='only 5 % was taken'):
    feed(
      dataclasses.replace(
        task, clips=sets.clips([{'texts': ('a bar',)}] + [{}] * 19, 'train')
      )
    )


@pytest.mark.parametrize('kind', ['caption', 'question', 'label', 'text'])
@pytest.mark.parametrize('limit', [1, 2, 5, 9])
def test_a_limit_is_one_for_every_kind(sets, kind, limit):
  rows = [
    {
      'texts': ('a bar',),
      'questions': ('what', 'who'),
      'answers': ('a bar', 'a ring'),
      'label': 'run',
    }
  ] * 5
  lines = [{'inputs': 'say', 'targets': f't{i}'} for i in range(5)]
  path = sets.folder / 'text.jsonl'
  path.write_text('\n'.join(map(json.dumps, lines)))
  texts = str(path) if kind == 'text' else ''
  task = tasks.ClipTask('t', None, '', sets.clips(rows), kind=kind, texts=texts)
  whole = task.examples()
  table = dataclasses.replace(task, limit=limit).examples()
  each = 2 if kind == 'question' else 1
  assert len(table) == min(limit, 5) * each
  assert table.ids == whole.ids[: len(table)]
  assert f'limit {limit} of 5' in str(table.coverage)


@pytest.mark.parametrize('limit', [0, -1, True])
def test_what_is_no_limit_is_refused(limit):
  with pytest.raises(ValueError, match=r'limit=.*need a whole number of clips'):
    tasks.ClipTask('t', None, limit=limit)


def drawn(seed: int) -> list[tuple[list[str], list[str]]]:
  """Texts of some clips, of which about half are blank."""
  rng = np.random.default_rng(seed)
  few = lambda: rng.choice(
    ['', ' ', '\n\t', 'a', 'b'], rng.integers(4)
  ).tolist()
  return [(few(), few()) for _ in range(rng.integers(1, 9))]


@pytest.mark.parametrize('seed', range(20))
def test_blank_texts_are_none_of_any_kind(new_sets, seed):
  texts = drawn(seed)
  sets, rows = new_sets(), []
  for first, second in texts:
    pairs = list(zip(first, second, strict=False))
    rows.append(
      {
        'texts': tuple(first),
        'questions': tuple(question for question, _ in pairs),
        'answers': tuple(answer for _, answer in pairs),
        'label': (first or [''])[0],
      }
    )
  clips = sets.clips(rows)
  wanted = {
    'caption': [
      (f'c{i}', [text for text in row['texts'] if text.strip()])
      for i, row in enumerate(rows)
    ],
    'question': [
      # A blank question before it changes no question's name.
      (f'c{i}#{n}' if n else f'c{i}', [answer] if question.strip() else [])
      for i, row in enumerate(rows)
      for n, (question, answer) in enumerate(
        zip(row['questions'], row['answers'], strict=True)
      )
    ],
    'label': [(f'c{i}', [row['label']]) for i, row in enumerate(rows)],
  }
  for kind, named in wanted.items():
    kept = [(name, own) for name, own in named if ''.join(own).strip()]
    task = tasks.ClipTask('t', None, '', clips, kind=kind)
    if not kept:
      with pytest.raises(ValueError, match=r'no (clip|question)'):
        task.examples()
      continue
    table = task.examples()
    assert list(zip(table.ids, map(list, table.texts), strict=True)) == kept
    if kind != 'label':
      assert {*table.ids} | {*table.blank} == {name for name, _ in named}


def test_null_rows_are_counted(sets, words):
  clips = sets.clips([{'texts': ('a bar',), 'label': 'run'}] * 4)
  path = pathlib.Path(clips, 'index-train.parquet')
  index = pq.read_table(path)
  rows = index.to_pylist()
  rows[1] |= {'texts': None, 'questions': None, 'answers': None, 'label': None}
  rows[2] |= {'texts': [None, 'a ring'], 'questions': [None], 'answers': ['x']}
  rows[3] |= {'questions': ['what', 'who'], 'answers': ['a bar', None]}
  pq.write_table(pa.Table.from_pylist(rows, index.schema), path)
  table = examples.caption_examples(clips, 'train', 'say')
  assert list(table.ids) == ['c0', 'c2', 'c3'] and table.texts[1] == ['a ring']
  assert '1 without a caption' in str(table.coverage)
  assert examples.label_examples(clips, 'train', 'say').ids == [
    'c0',
    'c2',
    'c3',
  ]
  table = examples.question_examples(clips, 'train', '{question}')
  assert table.ids == ['c3'] and '1 of 3 questions (2 null' in str(
    table.coverage
  )

  good = [ask('c0'), ask('c1', question='who')]
  null = [{**ask('c0'), name: None} for name in good[0]]
  asked = sets.instructions([*good, *null, ask('c2', answer=' ')])
  table = examples.question_examples(
    clips, 'train', '{question}', asked, ('short',)
  )
  assert table.ids == ['c0', 'c1']
  assert '2 of 7 rows' in str(table.coverage)
  assert '4 null, 1 blank left out' in str(table.coverage)

  lines = [
    '',
    '{"inputs": null, "targets": "x"}',
    '{"inputs": "a", "targets": ""}',
  ]
  path = sets.folder / 'text.jsonl'
  path.write_text(
    '\ufeff{"inputs": "say", "targets": "x"}\r\n' + '\n'.join(lines)
  )
  table = examples.text_examples(str(path))
  assert table.texts == [['x']] and table.prompts == ['say']
  assert '1 null, 1 blank left out' in str(table.coverage)


def test_files_that_hold_no_texts_are_told_in_a_line(sets):
  clips = sets.clips([{}])

  def read(path):
    return examples.question_examples(clips, 'train', '{question}', path)

  with pytest.raises(FileNotFoundError, match='no such file of instructions'):
    read(f'{clips}/gone.parquet')
  with pytest.raises(ValueError, match='no Parquet file'):
    read(f'{clips}/dataset_info.json')
  rows = [{**ask('c0'), 'answer': 3}]
  with pytest.raises(ValueError, match="column 'answer' is int64; need text"):
    read(sets.instructions(rows, answer=pa.int64()))
  table = pq.read_table(sets.instructions([ask('c0')]))
  pq.write_table(table.drop(['question']), sets.folder / 'less.parquet')
  with pytest.raises(ValueError, match="no column 'question', only clip_id"):
    read(str(sets.folder / 'less.parquet'))
  path = sets.folder / 'text.jsonl'
  for line, match in (
    ('[1]', '1: needs "inputs" and "targets"'),
    ('{"inputs": 3, "targets": ""}', '1: "inputs" and "targets" need to be'),
    ('{"inputs"', '1: no JSON'),
  ):
    path.write_text(line)
    with pytest.raises(ValueError, match=match):
      examples.text_examples(str(path))


def test_a_table_that_nobody_counted_passes(logged):
  coverage.check('t', None, False)
  coverage.say('t', None)
  assert logged() == []
