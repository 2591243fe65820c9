"""Predictions in other tools' files: a column is known or asked for."""

import csv
import gzip
import json
import pathlib
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm.commands import eval
from vidlm.core import command_line
from vidlm.data.store import caption_sets
from vidlm.evals import file_scores, prediction_files, protocols, references

TRUTH = {'q1': 'a dog', 'q2': 'red', 'q3': 'two'}
SAID = {'q1': 'a dog', 'q2': 'blue', 'q3': '2'}


@pytest.fixture
def scored(tmp_path: pathlib.Path):
  """Scores a file against TRUTH."""

  def score(path: Any, task: str = 'answers', **options: Any) -> dict[str, Any]:
    truth = tmp_path / 'truth.json'
    truth.write_text(json.dumps(options.pop('truth', TRUTH)))
    return file_scores.evaluate_file(
      predictions=path, task=task, annotations=[str(truth)], **options
    )

  return score


def table(path: pathlib.Path, rows: list[dict[str, Any]]) -> str:
  """Writes rows as the file's name says."""
  data = b''
  bare = path.name.removesuffix('.gz')
  if bare.endswith('.parquet'):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    data = sink.getvalue().to_pybytes()
  elif bare.endswith('.jsonl'):
    data = ''.join(json.dumps(row) + '\n' for row in rows).encode()
  elif bare.endswith('.json'):
    data = json.dumps(rows).encode()
  else:
    file = path.with_name('table')
    with file.open('w', newline='') as out:
      writer = csv.DictWriter(
        out, list(rows[0]), delimiter='\t' if '.tsv' in bare else ';'
      )
      writer.writeheader()
      writer.writerows(rows)
    data = file.read_bytes()
  path.write_bytes(gzip.compress(data) if path.suffix == '.gz' else data)
  return str(path)


KINDS = ['p.csv', 'p.tsv', 'p.jsonl', 'p.json', 'p.parquet', 'p.CSV']
PUBLISHED = [
  'pred', 'prediction', 'predicted_answer', 'generated', 'caption', 'output',
  'response', 'answer', 'text', 'Prediction', 'model_output', 'hypothesis',
]  # fmt: skip


@pytest.mark.parametrize('kind', [*KINDS, 'p.csv.gz', 'p.json.gz', 'p.gz.gz'])
@pytest.mark.parametrize('name', PUBLISHED)
def test_published_names_in_every_form(tmp_path, scored, kind: str, name: str):
  kind = kind.replace('p.gz.gz', 'p.parquet.gz')
  rows = [{'question_id': k, 'gt': TRUTH[k], name: v} for k, v in SAID.items()]
  scores = scored(table(tmp_path / kind, rows))
  assert scores['accuracy'] == pytest.approx(1 / 3)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('other', ['pred', 'output', 'response', 'prediction'])
def test_a_file_that_holds_the_answers_too(tmp_path, scored, kind, other):
  """Before, `answer` was taken, and every answer was right."""
  rows = [{'id': k, 'answer': TRUTH[k], other: v} for k, v in SAID.items()]
  path = table(tmp_path / kind, rows)
  with pytest.raises(ValueError) as caught:
    scored(path)
  for word in (path, "'answer'", repr(other), '--prediction_column='):
    assert word in str(caught.value)
  asked = prediction_files.TextFile(path, text_column=other)
  assert scored(asked)['accuracy'] == pytest.approx(1 / 3)
  asked = prediction_files.TextFile(path, text_column='answer')
  with pytest.raises(ValueError, match='--allow=perfect'):
    scored(asked)
  assert scored(asked, allow=['perfect'])['accuracy'] == 1


def test_a_row_without_its_prediction_is_no_place_for_the_answer(
  tmp_path, scored
):
  rows: list[dict] = [{'id': k, 'answer': TRUTH[k]} for k in TRUTH]
  rows[0]['pred'] = 'a cat'
  with pytest.raises(ValueError, match="'pred' or 'answer'"):
    scored(table(tmp_path / 'p.jsonl', rows))
  asked = prediction_files.TextFile(str(tmp_path / 'p.jsonl'), None, 'pred')
  with pytest.raises(ValueError, match="prediction of 'q2' is no text: None"):
    scored(asked)


@pytest.mark.parametrize(
  'content',
  [
    TRUTH,
    {key: [text] for key, text in TRUTH.items()},
    [{'id': k, 'answer': f' {v.upper()} '} for k, v in TRUTH.items()],
    {'predictions': TRUTH},
  ],
)
def test_the_annotations_are_no_predictions(tmp_path, scored, content):
  path = tmp_path / 'p.json'
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match='all 3 predictions are what is annot'):
    scored(str(path))
  assert scored(str(path), allow=['perfect'])['normalized_accuracy'] == 1
  path.write_text(json.dumps({**TRUTH, 'q1': 'no'}))
  assert scored(str(path))['accuracy'] == pytest.approx(2 / 3)


def test_one_of_many_references_is_annotated_too(tmp_path, scored):
  truth = {'a': ['a man', 'he runs'], 'b': ['a dog', 'it sits']}
  path = tmp_path / 'p.json'
  path.write_text(json.dumps({'a': 'He runs', 'b': 'a dog'}))
  with pytest.raises(ValueError, match='--allow=perfect'):
    scored(str(path), 'captions', truth=truth)
  assert scored(str(path), 'captions', truth=truth, allow=['perfect'])['n'] == 2


def test_names_differ_in_case(tmp_path, scored, caplog):
  truth = {'clip.mp4': 'a', 'two.mp4': 'b', 'three': 'c'}
  path = table(
    tmp_path / 'p.csv',
    [
      {'video': 'clip.MP4', 'pred': 'x'},
      {'video': 'TWO.mp4', 'pred': 'b'},
      {'video': 'three.mp4', 'pred': 'y'},
    ],
  )
  caplog.set_level('WARNING')
  scores = scored(path, truth=truth)
  assert scores['accuracy'] == pytest.approx(1 / 3)
  assert scores['protocol']['n_taken_by_another_name'] == 3
  assert "3 taken by another name: 'clip.MP4' for 'clip.mp4'" in caplog.text
  with pytest.raises(ValueError, match='are missing'):
    scored(path, truth={**truth, 'CLIP.mp4': 'z'})


IDS = [
  # Row numbers beside ids; ids of a question beside those of its video.
  ({'id': 0, 'question_id': 'q1'}, {'id': 1, 'question_id': 'q2'}),
  ({'video_id': 'v', 'id': 'q1'}, {'video_id': 'v', 'id': 'q2'}),
  ({'question_id': 'q1', 'video': 'v'}, {'question_id': 'q2', 'video': 'v'}),
  ({'clip_id': 'q1', 'video': 'q1.mp4'}, {'clip_id': 'q2', 'video': 'q2.mp4'}),
  ({'video_name': 'q', 'qid': 1}, {'video_name': 'q', 'qid': 2}),
]


@pytest.mark.parametrize('ids', IDS)
def test_ids_are_those_that_are_annotated(tmp_path, scored, ids):
  rows = [{**row, 'pred': 'red'} for row in ids]
  truth = {'q1': 'a dog', 'q2': 'red'}
  if 'qid' in ids[0]:
    truth = {f'q_{key[1]}': text for key, text in truth.items()}
  for kind in ('p.csv', 'p.parquet'):
    scores = scored(table(tmp_path / kind, rows), truth=truth)
    assert scores['accuracy'] == 0.5


def test_two_columns_of_annotated_ids(tmp_path, scored):
  rows = [{'id': 'q1', 'clip_id': 'q2', 'pred': 'red'}]
  rows.append({'id': 'q2', 'clip_id': 'q1', 'pred': 'a dog'})
  path = table(tmp_path / 'p.csv', rows)
  truth = {'q1': 'a cat', 'q2': 'a dog'}
  with pytest.raises(
    ValueError, match=r"'clip_id' or 'id'\? Name it by --id_c"
  ):
    scored(path, truth=truth)
  asked = prediction_files.TextFile(path, 'clip_id')
  assert scored(asked, truth=truth)['accuracy'] == 0
  asked = prediction_files.TextFile(path, 'id')
  assert scored(asked, truth=truth)['accuracy'] == 0.5


SHAPES: list[Any] = [
  {'id': list(SAID), 'pred': list(SAID.values())},
  {
    'id': dict(enumerate(SAID)),
    'pred': dict(enumerate(SAID.values())),
  },
  {k: {'pred': v, 'question': 'why?'} for k, v in SAID.items()},
  {'data': [{'id': k, 'pred': v} for k, v in SAID.items()]},
  {'predictions': [{'id': k, 'pred': v} for k, v in SAID.items()]},
  {'results': [{'id': k, 'pred': v} for k, v in SAID.items()]},
  {'q': {key[1]: text for key, text in SAID.items()}},
]


@pytest.mark.parametrize('content', SHAPES)
def test_shapes_of_json(tmp_path, scored, content):
  path = tmp_path / 'p.json'
  path.write_text(json.dumps(content))
  truth = TRUTH
  if 'q' in content:  # NExT-OE's: {video: {question: text}}
    truth = {f'q_{key[1]}': text for key, text in TRUTH.items()}
  scores = scored(str(path), truth=truth)
  assert scores['accuracy'] == pytest.approx(1 / 3)


def a_caption_set(folder: pathlib.Path, samples: int) -> str:
  """Writes a finished set of three clips, the last of which has failed."""
  folder.mkdir()
  config = {'samples': samples}
  info = caption_sets.FileInfo(
    caption_sets.config_hash(config), config, 'digest', 'model'
  )
  made = [
    caption_sets.CaptionRow(
      key,
      f'{key}.mp4',
      captions=[f'{text} {n}' if n else text for n in range(samples)],
      logprobs=[0.0] * samples,
      lengths=[1] * samples,
    )
    for key, text in list(SAID.items())[:2]
  ]
  made.append(
    caption_sets.CaptionRow('q3', status=caption_sets.FAILED, error='corrupt')
  )
  path = folder / caption_sets.file_name(0, 1)
  caption_sets.write_file(path, made, info)
  (folder / caption_sets.MANIFEST).write_bytes(
    caption_sets.manifest_bytes(config, [caption_sets.describe_file(path)])
  )
  return str(folder)


def exported(folder: str, path: pathlib.Path) -> str:
  """What our own table of a set looks like in other tools."""
  from vidlm.captions import table as table_lib

  captions = table_lib.read_captions(folder)
  if path.suffix == '.csv':
    captions.to_csv(path)
  elif path.suffix == '.json':
    captions.reset_index().to_json(path)
  elif path.suffix == '.jsonl':
    captions.reset_index().to_json(path, orient='records', lines=True)
  else:
    captions.to_parquet(path)
  return str(path)


FORMS = ['', 'captions-00000-of-00001.parquet', 'e.csv', 'e.json', 'e.jsonl']


@pytest.mark.parametrize('form', [*FORMS, 'e.parquet'])
@pytest.mark.parametrize('samples', [1, 3])
def test_our_own_sets_and_exports(tmp_path, scored, form: str, samples: int):
  path = a_caption_set(tmp_path / 'set', samples)
  if form.startswith('captions-'):
    path = f'{path}/{form}'
  elif form:
    path = exported(path, tmp_path / form)
  file: Any = path
  if samples > 1:
    with pytest.raises(ValueError, match='--sample=0'):
      scored(path, allow=['unavailable'])
    file = prediction_files.TextFile(path, sample=0)
  with pytest.raises(ValueError, match=r"1 are missing \('q3'\)"):
    scored(file)
  scores = scored(file, allow=['unavailable'])
  assert (scores['n'], scores['accuracy']) == (2, 0.5)
  if samples > 1:
    file = prediction_files.TextFile(path, sample=2)
    assert scored(file, allow=['unavailable'])['accuracy'] == 0
    file = prediction_files.TextFile(path, sample=3)
    with pytest.raises(ValueError, match='--sample='):
      scored(file)


def test_scores_of_ours_are_predictions_again(tmp_path, scored):
  path = tmp_path / 'scores.json'
  path.write_text(json.dumps({'accuracy': 1, 'predictions': SAID}))
  assert scored(str(path))['accuracy'] == pytest.approx(1 / 3)


@pytest.mark.parametrize('cell', ['["a dog", "it"]', "['a dog', 'it']"])
def test_lists_in_cells_are_captions(tmp_path, cell: str):
  path = table(tmp_path / 't.csv', [{'clip_id': 'a', 'caption': cell}])
  refs = references.from_file(path, 'caption', 'test')
  assert refs.texts == {'a': ['a dog', 'it']}


def test_annotations_have_columns_too(tmp_path):
  row = {'clip_id': 'a', 'path': 'a.mp4', 'caption': 'c', 'answer': 'b'}
  path = table(tmp_path / 't.csv', [{**row, 'question': 'q'}])
  refs = references.from_file(path, 'caption', 'test')
  assert refs.texts == {'a': ['c']}
  # Before, the answer was taken for a caption.
  refs = references.from_file(path, 'question', 'test')
  assert refs.texts == {'a': ['b']}
  path = table(tmp_path / 't.csv', [{**row, 'text': 'd'}])
  with pytest.raises(
    ValueError, match=r"'caption' or 'text'.*--annotation_col"
  ):
    references.from_file(path, 'caption', 'test')
  file = prediction_files.TextFile(path, 'path', 'text')
  assert references.from_file(file, 'caption', 'test').texts == {'a.mp4': ['d']}


def run(*argv: str) -> int:
  """Runs `vidlm eval` but for JAX."""
  command = command_line.Command(
    'eval', '', eval.add_flags, eval.run, uses_jax=False
  )
  return command_line.run('vidlm', '', [command], ['eval', *argv])


def test_flags(tmp_path, capsys):
  rows = [{'n': k, 'answer': TRUTH[k], 'pred': v} for k, v in SAID.items()]
  said = table(tmp_path / 'p.csv', rows)
  truth = table(tmp_path / 't.csv', rows)
  flags = ['--task=answers', f'--predictions={said}', f'--annotations={truth}']
  more = ['--annotation_id_column=n', '--annotation_column=answer']
  own = ['--id_column=n', '--prediction_column=pred']
  assert run(*flags, *more, *own) == 0
  assert json.loads(capsys.readouterr().out)['accuracy'] == pytest.approx(1 / 3)
  for wrong, message in [
    (own, 'name it by --annotation_id_column='),
    ([*more, '--id_column=n'], '--prediction_column='),
    ([*more, own[1]], 'name it by --id_column='),
    ([*more, *own, '--id_column=m'], "no column 'm'; it has n, answer, pred"),
  ]:
    with pytest.raises(SystemExit):
      run(*flags, *wrong)
    said_ = capsys.readouterr().err
    assert message in said_ and len(said_.splitlines()) == 1
  with pytest.raises(SystemExit):
    run('--checkpoint=c', '--clip_dataset=d', '--sample=0')
  assert '--sample is of a file: give --predictions' in capsys.readouterr().err


def test_columns_of_published_sets_are_known(tmp_path):
  file = prediction_files.TextFile(str(tmp_path), 'id')
  with pytest.raises(ValueError, match='leave out --annotation_column'):
    protocols.read_references('next_oe', [file])


def test_a_wide_table_is_told_in_a_line(tmp_path, scored):
  row = {f'column_{n}': 'x' for n in range(900)}
  with pytest.raises(ValueError, match='and 895 more') as caught:
    scored(table(tmp_path / 'p.csv', [row]))
  assert len(str(caught.value)) < 1000
