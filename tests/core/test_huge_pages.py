"""A command's process asks for huge pages once, and stays itself."""

import os
import subprocess
import sys

import pytest

from vidlm.core import huge_pages

_SHOW = (
  'import os, sys; from vidlm.core import huge_pages; '
  'print(os.getpid(), flush=True); huge_pages.restart(); '
  'print(sys.argv[1:], os.environ.get("GLIBC_TUNABLES"))'
)


def _run(**env: str) -> list[str]:
  process = subprocess.Popen(
    [sys.executable, '-c', _SHOW, 'a b', '--flag=*'],
    stdout=subprocess.PIPE,
    text=True,
    env=_environment() | env,
  )
  out, _ = process.communicate(timeout=60)
  assert process.returncode == 0
  *pids, last = out.splitlines()
  assert set(pids) == {str(process.pid)}
  return [str(len(pids)), last]


def _environment() -> dict[str, str]:
  return {k: v for k, v in os.environ.items() if k != 'GLIBC_TUNABLES'}


@pytest.mark.skipif(not huge_pages.offered(), reason='no choice of pages')
def test_restarts_once_as_the_same_process_with_the_same_arguments():
  assert _run() == ['2', "['a b', '--flag=*'] glibc.malloc.hugetlb=1"]


def test_leaves_the_users_own_choice_alone():
  chosen = 'glibc.malloc.hugetlb=0'
  assert _run(GLIBC_TUNABLES=chosen) == ['1', f"['a b', '--flag=*'] {chosen}"]


@pytest.mark.parametrize(
  'env', [{'VIDLM_CPU_TRICKS': '0'}, {'JAX_PLATFORMS': 'cuda,cpu'}]
)
def test_not_where_it_is_switched_off_or_another_backend_computes(env):
  assert _run(**env) == ['1', "['a b', '--flag=*'] None"]


def test_nothing_happens_where_the_kernel_does_not_say(monkeypatch, tmp_path):
  monkeypatch.setattr(huge_pages, '_MODE', tmp_path / 'absent')
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  monkeypatch.setattr(os, 'execv', lambda *_: pytest.fail('started again'))
  huge_pages.restart()
