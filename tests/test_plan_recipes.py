"""The paper's recipes on the command line: counts, and fit on 128 v5e chips."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from vidlm.training import topology

ROOT = pathlib.Path(__file__).resolve().parents[1]
# program, recipe, trainable parameters, EFLOP of the run by peers' arithmetic
# (their vocabulary of 250k and prompt lengths differ a little), mesh.
RECIPES = [
  ('vidlm', 'vidlm/recipes/adapt_visual', 1_846_182_272, 92.9, (64, 2)),
  ('vidlm', 'vidlm/recipes/adapt_language', 2_849_757_184, 72.0, (64, 2)),
  ('dualenc', 'dualenc/recipes/dualenc_l14', 427_620_609, 314.6, (128, 1)),
  # By hand: three times the tower and projection, twice the frozen T5.
  (
    'vidlm',
    'vidlm/recipes/siglip_so400m_flan_t5_xl',
    414_803_696,
    46.9,
    (64, 2),
  ),
  ('vidlm', 'vidlm/recipes/siglip2_gopt_t5_xl', 1_137_986_048, 70.2, (64, 2)),
  # By hand, see test_gemma_flops_by_hand in tests/models/test_flops.py.
  ('vidlm', 'vidlm/recipes/paligemma_3b_224', 414_803_696, 59.5, (64, 2)),
  ('vidlm', 'vidlm/recipes/paligemma2_3b_224', 415_098_864, 61.9, (64, 2)),
]


def plan(
  program: str, recipe: str, tmp_path: pathlib.Path, *flags: str
) -> dict[str, Any]:
  output = tmp_path / 'plan.json'
  done = subprocess.run(
    [
      sys.executable,
      '-m',
      program,
      'plan',
      f'--gin_file=configs/{recipe}.gin',
      f'--json={output}',
      *flags,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=3000,
  )
  assert done.returncode == 0, done.stderr
  assert 'chip-hours' in done.stdout
  return json.loads(output.read_text())


@pytest.mark.parametrize(
  ('program', 'recipe', 'trainable', 'exaflop', 'mesh'), RECIPES
)
def test_counts(
  program: str,
  recipe: str,
  trainable: int,
  exaflop: float,
  mesh: tuple[int, int],
  tmp_path: pathlib.Path,
) -> None:
  report = plan(program, recipe, tmp_path)
  assert report['parameters']['trainable'] == trainable
  assert report['flops'] == pytest.approx(exaflop * 1e18, rel=0.01)
  assert report['chips'] == mesh[0] * mesh[1]


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(
  not topology.available(), reason='libtpu (extra `tpu`) is not installed'
)
@pytest.mark.parametrize(
  ('program', 'recipe', 'trainable', 'exaflop', 'mesh'), RECIPES
)
def test_fits_a_pod_of_v5e(
  program: str,
  recipe: str,
  trainable: int,
  exaflop: float,
  mesh: tuple[int, int],
  tmp_path: pathlib.Path,
) -> None:
  report = plan(program, recipe, tmp_path, '--topology=v5e:8x16')
  assert (report['mesh']['data'], report['mesh']['model']) == mesh
  assert report['chips'] == 128
  # Half a chip stays free, for longer clips or bigger batches.
  assert report['bytes_per_chip'] < 16e9 / 2
  assert report['fits']
