"""data/<set>/ builds with TFDS's own tools."""

import functools
import importlib.util
import json
import pathlib
import shutil

import pytest

from vidlm.data.sets import registry

ROOT = pathlib.Path(__file__).resolve().parents[3]
tfds = pytest.importorskip('tensorflow_datasets')


@functools.cache
def builder_class(name: str):
  path = ROOT / 'data' / name / f'{name}_dataset_builder.py'
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.Builder


def test_every_set_has_a_card() -> None:
  for name in registry.SETS:
    assert f'vidlm prepare {name} ' in (
      ROOT / 'data' / name / 'README.md'
    ).read_text(encoding='utf-8')


@pytest.mark.parametrize('path', sorted(ROOT.glob('data/*/*_builder.py')))
def test_builders_name_their_set(path) -> None:
  assert path.parent.name == builder_class(path.parent.name).SET


def test_build(videos, tmp_path) -> None:
  manual = tmp_path / 'manual'
  (manual / 'videos').mkdir(parents=True)
  (manual / 'annotations').mkdir()
  one = videos.write(manual / 'videos' / 'video7010.mp4')
  shutil.copy(one, manual / 'videos' / 'video7011.mp4')
  (manual / 'videos' / 'video7012.mp4').write_bytes(b'not a video')
  rows = [
    {'video': f'video{n}.mp4', 'caption': [f'text {n}']}
    for n in range(7010, 7014)
  ]
  (manual / 'annotations' / 'a.json').write_text(json.dumps(rows))
  builder = builder_class('msrvtt')(
    data_dir=str(tmp_path / 'out'), file_format='array_record'
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(manual))
  )
  assert builder.info.splits['test'].num_examples == 2
  texts = sorted(
    example['texts'][0].decode() for example in builder.as_data_source('test')
  )
  assert texts == ['text 7010', 'text 7011']
