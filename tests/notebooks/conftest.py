"""A small real run: drawn videos, two sets of captions, two trained towers."""

import json
import pathlib
import types

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / 'notebooks'


class Scripted:
  """A captioner that says what it was told to, by clip id."""

  batch_size = 8
  num_frames = 2
  image_size = 32
  num_samples = 2

  def __init__(self, name, lines):
    from vidlm.captions import identity

    self.name = name
    self._lines = {identity.hash32(key): text for key, text in lines.items()}

  def identity(self):
    return {'model': self.name}

  def submit(self, frames, frame_mask, ids):
    from vidlm.captions import captioner

    said = [self._lines.get(int(i), ('', '')) for i in ids]
    return lambda: [
      captioner.ClipCaptions(texts, [_logprob(t) for t in texts], [9, 9])
      for texts in said
    ]


def _logprob(text):
  return -0.5 * len(text) if text else float('nan')


@pytest.fixture(scope='session')
def tiny_run(tmp_path_factory):
  """Folders of a run, and what its captioners have said."""
  from vidlm.captions import caption
  from vidlm.data.store import clip_reader
  from vidlm.miniature.world import config, prepare

  root = tmp_path_factory.mktemp('run')
  sizes = config.MiniatureConfig(
    image_text=8,
    text_only=60,
    short_captions=4,
    narratives=2,
    web_clips=12,
    test_retrieval=15,
    test_classification=15,
    test_captioning=2,
    test_qa=2,
  )
  prepare.prepare_miniature(str(root / 'data'), config=sizes, workers=1)
  web_clips = root / 'data' / 'web_clips'
  reader = clip_reader.open_clips(str(web_clips))
  texts = dict(
    zip(reader.clip_ids(), (t[0] for t in reader.texts()), strict=True)
  )
  said = {
    'terse': {c: (t, t) for c, t in texts.items()},
    'wordy': {c: (f'we see {t}', t) for c, t in texts.items()},
  }
  lost = reader.clip_ids()[3]
  said['terse'][lost] = ('', '')
  for name, lines in said.items():
    caption.caption(
      captioner=Scripted(name, lines),
      clip_dataset=str(web_clips),
      output=str(root / 'captions' / name),
      run=caption.Run(process_index=0, process_count=1),
    )
  return types.SimpleNamespace(root=root, said=said, lost=lost)


@pytest.fixture(scope='session')
def towers(tiny_run):
  """MODEL_DIR of a dual encoder that has taken four steps."""
  from vidlm import train
  from vidlm.core import launch

  data = tiny_run.root / 'data'
  bindings = {
    'MODEL_DIR': str(tiny_run.root / 'dualenc'),
    'DATA_DIR': str(data),
    'VOCABULARY_PATH': str(data / 'vocabulary.model'),
    'CAPTIONS': str(tiny_run.root / 'captions' / 'wordy'),
    'BATCH_SIZE': 8,
    'TRAIN_STEPS': 4,
    # A layer a tower: compiling is what takes the time.
    'vit_st.ViTST.variant': '64,1,128,2/16',
    'text.TextTransformer.depth': 1,
  }
  with pytest.MonkeyPatch.context() as patch, launch.isolated_gin():
    patch.chdir(ROOT)
    launch.parse_gin(
      ['configs/miniature/dualenc.gin'],
      [f'{key} = {value!r}' for key, value in bindings.items()],
    )
    assert not train.run()
  return bindings['MODEL_DIR']


@pytest.fixture
def execute(tmp_path, monkeypatch):
  """Runs a notebook in a kernel of its own; returns it and its variables."""

  def run(name, environment, results):
    # Neither the user's kernels and history, nor two kernels' directories.
    for folder in ('IPYTHONDIR', 'JUPYTER_DATA_DIR', 'JUPYTER_RUNTIME_DIR'):
      monkeypatch.setenv(folder, str(tmp_path / folder.lower()))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    for key, value in environment.items():
      monkeypatch.setenv(key, str(value))
    notebook = nbformat.read(NOTEBOOKS / f'{name}.ipynb', 4)
    path = tmp_path / 'results.json'
    notebook.cells.append(nbformat.v4.new_code_cell(_dump(results, path)))
    nbclient.NotebookClient(
      notebook,
      timeout=300,
      kernel_name='python3',
      resources={'metadata': {'path': str(NOTEBOOKS)}},
    ).execute()
    values = json.loads(path.read_text())
    return notebook, types.SimpleNamespace(**values)

  return run


def _dump(results, path):
  """A cell that writes variables: pandas by columns, arrays as lists."""
  return f"""
def plain(x):
  return json.loads(x.to_json(orient='split')) if hasattr(x, 'to_json') else (
    vars(x) if hasattr(x, '__dict__') else x.tolist())

pathlib.Path({str(path)!r}).write_text(json.dumps(
  {{name: globals()[name] for name in {list(results)!r}}}, default=plain))
"""
