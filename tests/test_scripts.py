"""The launch scripts: what they would run, and that it arrives unchanged."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / 'scripts'
POD = SCRIPTS / 'launch_tpu_pod.sh'
SLURM = SCRIPTS / 'launch_slurm.sh'
# Quotes, spaces, dollars and newlines a careless script would lose.
COMMAND = [
  'vidlm',
  'train',
  '--gin_file=configs/a b.gin',
  '--gin.MODEL_DIR="gs://bucket/it\'s $HOME"',
  "--gin.SCHEDULE=[('img/.*', None),\n ('.*', None)]",
]
# Writes its arguments, one a NUL-ended string, to a file of its own.
RECORD = '#!/bin/bash\nprintf "%s\\0" "$@" > "$RECORDS/$SLURM_PROCID$$"\n'
GCLOUD = """#!/bin/bash
printf "%s\\0" "$@" > "$GCLOUD_ARGV"
for last; do :; done
for worker in 0 1; do bash -c "${last#--command=}"; done
"""
SRUN = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == --nodes=* ]] && n=${1#*=}; shift; done
export SLURM_JOB_ID=12345 SLURM_NTASKS=$n SLURM_STEP_NODELIST='node[7-8]'
for ((i = 0; i < n; i++)); do
  SLURM_PROCID=$i SLURM_LOCALID=0 "$@"
done
"""
SCONTROL = (
  '#!/bin/bash\n[[ $* == "show hostnames node[7-8]" ]]\n'
  'printf "node7\\nnode8\\n"\n'
)


def executable(path: pathlib.Path, text: str) -> None:
  path.write_text(text)
  path.chmod(0o755)


@pytest.fixture
def env(tmp_path: pathlib.Path) -> dict[str, str]:
  """A PATH whose gcloud, srun, scontrol and vidlm are stand-ins."""
  checkout = tmp_path / 'home' / 'my vidlm' / '.venv' / 'bin'
  checkout.mkdir(parents=True)
  (checkout / 'activate').write_text(f'PATH={shlex.quote(str(checkout))}:$PATH')
  executable(checkout / 'vidlm', RECORD)
  tools = tmp_path / 'tools'
  tools.mkdir()
  for name, text in [
    ('gcloud', GCLOUD),
    ('srun', SRUN),
    ('scontrol', SCONTROL),
    ('vidlm', RECORD),
  ]:
    executable(tools / name, text)
  (tmp_path / 'records').mkdir()
  return os.environ | {
    'PATH': f'{tools}:{os.environ["PATH"]}',
    'HOME': str(tmp_path / 'home'),
    'RECORDS': str(tmp_path / 'records'),
    'GCLOUD_ARGV': str(tmp_path / 'gcloud_argv'),
    'SLURM_PROCID': '',
  }


def run(
  argv: list[str | pathlib.Path], env: dict[str, str], **kwargs: object
) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [str(a) for a in argv],
    env=env,
    cwd=env['HOME'],
    text=True,
    capture_output=True,
    timeout=60,
    **kwargs,
  )


def records(env: dict[str, str]) -> list[list[str]]:
  files = sorted(pathlib.Path(env['RECORDS']).iterdir())
  return [f.read_text().split('\0')[:-1] for f in files]


def test_pod_arguments_arrive_unchanged_on_every_host(
  env: dict[str, str],
) -> None:
  done = run(
    [
      POD,
      '--name=pod',
      '--zone=z',
      '--project=p',
      '--dir=my vidlm',
      '--',
      *COMMAND,
    ],
    env,
  )
  assert done.returncode == 0, done.stderr
  assert records(env) == [[*COMMAND[1:], '--multihost']] * 2
  argv = pathlib.Path(env['GCLOUD_ARGV']).read_text().split('\0')[:-2]
  assert argv == [
    'compute',
    'tpus',
    'tpu-vm',
    'ssh',
    'pod',
    '--zone=z',
    '--worker=all',
    '--project=p',
  ]


def test_pod_detached_returns_at_once_and_logs(env: dict[str, str]) -> None:
  done = run(
    [
      POD,
      '--name=pod',
      '--zone=z',
      '--dir=my vidlm',
      '--detach',
      '--',
      *COMMAND,
    ],
    env,
  )
  assert done.returncode == 0, done.stderr
  deadline = time.monotonic() + 20
  while len(records(env)) < 2 and time.monotonic() < deadline:
    time.sleep(0.05)
  assert records(env) == [[*COMMAND[1:], '--multihost']] * 2
  assert (pathlib.Path(env['HOME']) / 'my vidlm' / 'launch.log').exists()


def test_slurm_tells_each_process_its_place(env: dict[str, str]) -> None:
  done = run(
    [
      SLURM,
      '--nodes=2',
      '--gpus_per_node=8',
      '--',
      '--time=1:00',
      '--',
      *COMMAND,
    ],
    env,
  )
  assert done.returncode == 0, done.stderr
  assert records(env) == [
    [
      *COMMAND[1:],
      '--coordinator_address=node7:22345',
      '--process_count=2',
      f'--process_index={i}',
    ]
    for i in (0, 1)
  ]


def test_slurm_port(env: dict[str, str]) -> None:
  run([SLURM, '--nodes=1', '--port=999', '--', *COMMAND], env)
  assert '--coordinator_address=node7:999' in records(env)[0]


@pytest.mark.parametrize(
  ('flags', 'start'),
  [
    ([POD, '--name=pod', '--zone=z'], 'gcloud compute tpus tpu-vm ssh pod'),
    ([SLURM, '--nodes=2'], 'srun --nodes=2 --ntasks=2 --ntasks-per-node=1'),
  ],
)
def test_dry_run_prints_what_would_run(
  flags: list[str | pathlib.Path], start: str, env: dict[str, str]
) -> None:
  dry = run([*flags, '--dry_run', '--', *COMMAND], env)
  assert dry.returncode == 0 and dry.stdout.startswith(start)
  assert records(env) == []
  # Pasted into a shell, the printed line does what the script does.
  if flags[0] == SLURM:
    run([*flags, '--', *COMMAND], env)
    expected = records(env)
    for file in pathlib.Path(env['RECORDS']).iterdir():
      file.unlink()
    assert run(['bash', '-c', dry.stdout], env).returncode == 0
    assert records(env) == expected
  else:
    run(['bash', '-c', dry.stdout], env)
    printed = pathlib.Path(env['GCLOUD_ARGV']).read_text()
    run([*flags, '--', *COMMAND], env)
    assert pathlib.Path(env['GCLOUD_ARGV']).read_text() == printed


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    ([POD, '--zone=z', '--', 'vidlm'], '--name=POD is missing'),
    ([POD, '--name=a', '--', 'vidlm'], '--zone=ZONE is missing'),
    ([POD, '--name=a', '--zone=z'], 'no command after --'),
    ([POD, '--nmae=a'], 'unknown option --nmae=a'),
    ([SLURM, '--', 'vidlm'], '--nodes=N is missing'),
    ([SLURM, '--nodes=two', '--', 'vidlm'], '--nodes=N is missing'),
    ([SLURM, '--nodes=2', '--', '--time=1', 'vidlm'], 'the second --'),
  ],
)
def test_mistakes_are_one_line(
  argv: list[str | pathlib.Path], message: str, env: dict[str, str]
) -> None:
  done = run(argv, env)
  assert done.returncode == 2
  assert message in done.stderr and done.stderr.count('\n') == 1


def test_help(env: dict[str, str]) -> None:
  for script in (POD, SLURM):
    done = run([script, '--help'], env)
    assert done.returncode == 0 and 'Usage:' in done.stdout


def test_shellcheck() -> None:
  beside = pathlib.Path(sys.executable).with_name('shellcheck')
  found = str(beside) if beside.exists() else shutil.which('shellcheck')
  if not found:
    pytest.skip('shellcheck is not installed')
  files = [*map(str, sorted(SCRIPTS.glob('*.sh'))), str(ROOT / '.ci' / 'run')]
  done = subprocess.run([found, *files], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout
