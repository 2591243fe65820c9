"""The miniature's tables: the runs fit the tables, the figures are right."""

import json
import pathlib

import pytest

from vidlm.evals import paper_tables
from vidlm.miniature import table_report
from vidlm.miniature import table_runs as runs
from vidlm.miniature import table_specs as specs

ROOT = pathlib.Path(__file__).resolve().parents[2]

SEEDS = (0, 1, 2)


@pytest.mark.parametrize('name', specs.TABLES)
def test_rows_and_columns_are_the_papers(name: str):
  table = specs.TABLES[name]
  _, columns, rows = paper_tables.TABLES[name]
  assert set(table.rows) - set(table.extra) == set(rows)
  assert list(rows) == [row for row in table.rows if row in rows]
  for column in table.columns:
    assert set(column.paper) <= set(columns)


def test_every_row_is_made_and_every_model_shown():
  shown = {
    (column.file.split('.')[0].split('_')[0], run)
    for table in specs.TABLES.values()
    for run in table.rows.values()
    for column in table.columns
  }
  scored = {run for kind, run in shown if kind in ('captioning', 'qa')}
  assert scored == {*runs.SHARED, *runs.VLMS}
  assert {run for kind, run in shown if kind == 'dualenc'} == set(
    runs.TOWERS_OF
  )


def test_runs_stand_behind_what_they_need():
  made = set(runs.SHARED)
  captions: set[str] = set()
  for name, vlm in runs.VLMS.items():
    assert vlm.start in made
    if vlm.pseudo:  # made just before
      assert runs.CAPTION_SETS[vlm.pseudo].model in made
    made.add(name)
  for name, made_of in runs.CAPTION_SETS.items():
    assert (made_of.model in made) != (made_of.summary_of in captions)
    captions.add(name)
  assert next(iter(runs.TOWERS_OF)) == 'image'
  for towers in runs.TOWERS_OF.values():
    if towers.captions:
      assert runs.CAPTION_SETS[towers.captions].clips == towers.clips
    if towers.captions_b:
      assert runs.CAPTION_SETS[towers.captions_b].clips == 'web_b'
  used = {t.captions for t in runs.TOWERS_OF.values()}
  used |= {t.captions_b for t in runs.TOWERS_OF.values()}
  used |= {c.summary_of for c in runs.CAPTION_SETS.values()}
  assert captions <= used


def test_recipes_are_there():
  recipes = {vlm.recipe for vlm in runs.VLMS.values()}
  recipes |= {towers.recipe for towers in runs.TOWERS_OF.values()}
  for recipe in recipes:
    assert (ROOT / f'configs/miniature/{recipe}.gin').exists(), recipe


def test_a_seed_stays_within_its_budget():
  plan = dict(runs.budget(3))
  assert plan['a seed'] < 40 * 60
  assert plan['all of 3 seeds'] == pytest.approx(
    runs.PREPARE + runs.STAGE_0 + 3 * plan['a seed']
  )


def write_scores(output: pathlib.Path) -> None:
  """Scores of every run: the later in its list, the better."""
  for seed in SEEDS:
    scores = output / f'seed_{seed}/scores'
    scores.mkdir(parents=True)
    write = lambda name, what, folder=scores: (folder / name).write_text(
      json.dumps(what)
    )
    for i, name in enumerate((*runs.SHARED, *runs.VLMS)):
      value = 0.1 * i + 0.01 * seed * (name not in runs.SHARED)
      write(f'captioning.{name}.json', {'cider': value, 'protocol': {}})
      write(f'qa.{name}.json', {'accuracy': value, 'protocol': {}})
    for i, name in enumerate(runs.TOWERS_OF):
      value = 0.05 * i + 0.01 * seed
      write(
        f'dualenc_{name}.json',
        {
          'retrieval': {
            't2v': {f'R@{k}': value for k in (1, 5, 10)},
            'protocol': {'ties': 'mid-rank'},
          },
          'classification': {'top1': value, 'top5': value, 'protocol': {}},
        },
      )
      write(f'captions.{name}.json', {'body': 0.5, 'body_and_motion': 0.1})
    folder = output / f'seed_{seed}'
    (folder / 'seconds.json').write_text('{"VLM visual": 80.04}')
    (folder / 'run.json').write_text(
      json.dumps({'commit': 'abc', 'machine': {'cpus_used': 2}})
    )
  (output / 'shared').mkdir()
  (output / 'shared/seconds.json').write_text('{"stage 0": 260}')


@pytest.fixture
def report(tmp_path: pathlib.Path) -> pathlib.Path:
  write_scores(tmp_path)
  return table_report.write(tmp_path, SEEDS, 'the command', 1.0)


def test_each_table_comes_in_three_formats(report: pathlib.Path):
  for name in specs.TABLES:
    for suffix in ('json', 'md', 'html'):
      assert (report / f'{name}.{suffix}').stat().st_size > 500
  readme = (report / 'README.md').read_text()
  assert readme.count('\n## Table') == len(specs.TABLES)
  assert 'the command' in readme and 'a seed: 80, 80, 80 s' in readme


def test_mean_spread_and_protocol(report: pathlib.Path):
  table = json.loads((report / 'table_4.json').read_text())
  row = table['rows'][1]
  assert (row['row'], row['run']) == ('frames', 'a_frames')
  cell = row['cells'][0]
  assert cell['values'] == pytest.approx([10, 11, 12])
  assert (cell['mean'], cell['sd'], cell['n']) == pytest.approx((11, 1, 3))
  assert cell['paper'] == {'MSR-VTT R@1': 39.5}
  assert cell['protocol'] == {'ties': 'mid-rank'}
  assert (
    '| image VLM, frame by frame | 11.0 ± 1.0 (39.5 MSR-VTT R@1) |'
    in (report / 'table_4.md').read_text()
  )


def test_order_is_computed(report: pathlib.Path):
  four = json.loads((report / 'table_4.json').read_text())
  assert four['orders'][0]['holds'] and four['orders'][0]['pairs'] == 15
  five = json.loads((report / 'table_5.json').read_text())
  [order] = five['orders']
  # Best of ours: self-training, both, F_L, F_V; the paper has F_V second.
  assert (order['holds'], order['agree'], order['pairs']) == (False, 3, 6)
  steps = {(s['from'], s['to']): s for s in five['steps']}
  step = steps['language model', 'visual encoder']
  assert step['paper'] == 1.1 and step['mean'] == pytest.approx(-20)
  assert (step['holds'], step['same_sign']) == (False, 0)


def test_a_shared_model_has_no_spread(report: pathlib.Path):
  table = json.loads((report / 'table_3.json').read_text())
  image, adapted = (row['cells'][0] for row in table['rows'])
  assert image['shared'] and image['sd'] is None and image['n'] == 1
  assert not adapted['shared'] and adapted['n'] == 3
  assert [step['n'] for step in table['steps']] == [3] * 5


def test_row_without_a_figure_in_the_paper(report: pathlib.Path):
  table = json.loads((report / 'table_6.json').read_text())
  [row] = [row for row in table['rows'] if row['row'] == 'visual']
  assert set(row['cells'][0]['paper'].values()) == {None}
  assert all('not in the paper' not in s['to'] for s in table['steps'])
