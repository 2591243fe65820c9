"""The demo's page: its tables beside the paper's, a plot, a gallery."""

import base64
import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

try:
  import jinja2
  import matplotlib
except ImportError as error:
  raise ImportError(
    f"the page needs {error.name}: pip install 'vidlm[miniature]'"
  ) from error

matplotlib.use('Agg')
from matplotlib import pyplot as plt

from vidlm.core import files

# Figures of the paper, as printed there (percent; CIDEr x 100).
PAPER = {
  'captioning': {  # Table 3, MSR-VTT captions, zero-shot
    'image_vlm': 21.3,
    'visual': None,
    'visual+language': 48.2,
  },
  'qa': {  # Table 3, MSR-VTT QA accuracy, zero-shot
    'image_vlm': 12.7,
    'visual': None,
    'visual+language': 24.4,
  },
  'retrieval': {  # Table 4, MSR-VTT R@1; the image VLM saw single frames
    'alt_text': 37.0,
    'image_vlm': 39.5,
    'visual': 43.6,
    'visual+language': 44.3,
  },
  'classification': {  # Table 2, Kinetics-600 top-1, VideoCC rows
    'alt_text': 48.6,
    'visual+language': 61.1,
  },
}
NAMES = {
  'alt_text': 'alt-text',
  'image_vlm': 'image VLM, all frames',
  'visual': 'visual adaptation',
  'visual+language': 'visual + language',
  'single_frame': 'best captions, one frame seen',
  'chance': 'chance',
  'majority': 'the commonest answer',
}


@dataclasses.dataclass(frozen=True)
class GalleryClip:
  """Keyframes of a clip with the captions of every stage."""

  clip_id: str
  keyframes: Sequence[bytes]  # JPEG
  captions: Mapping[str, str]


def write_page(
  report: Mapping[str, Any],
  gallery: Sequence[GalleryClip],
  own_videos: Sequence[GalleryClip],
  path: pathlib.Path,
  note: str,
) -> None:
  """Writes report.html, complete in itself.

  Args:
    report: What report.json holds.
    gallery: Clips of the miniature.
    own_videos: Clips of the user's videos, if any were given.
    path: Where the page goes.
    note: What the model that captioned the user's videos has seen.
  """
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / 'templates'),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  page = environment.get_template('report.html').render(
    report=report,
    paper=PAPER,
    names=NAMES,
    note=note,
    plot=_data_uri(scaling_plot(report['scaling']), 'png'),
    gallery=[_shown(clip) for clip in gallery],
    own_videos=[_shown(clip) for clip in own_videos],
  )
  files.write_text(path, page)


def _shown(clip: GalleryClip) -> dict[str, Any]:
  return {
    'clip_id': clip.clip_id,
    'keyframes': [_data_uri(frame, 'jpeg') for frame in clip.keyframes],
    'captions': dict(clip.captions),
  }


def _data_uri(data: bytes, kind: str) -> str:
  return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def scaling_plot(rows: Sequence[Mapping[str, Any]]) -> bytes:
  """Draws figure 5, R@1 against the number of captioned clips, as a PNG."""
  figure, axes = plt.subplots(figsize=(6, 3.6), dpi=120)
  for source in dict.fromkeys(row['captions'] for row in rows):
    points = sorted(
      (row['clips'], 100 * row['r1'])
      for row in rows
      if row['captions'] == source
    )
    axes.plot(
      *zip(*points, strict=True), marker='o', label=NAMES.get(source, source)
    )
  axes.set_xscale('log', base=2)
  ticks = sorted({row['clips'] for row in rows})
  axes.set_xticks(ticks, [str(tick) for tick in ticks])
  axes.set_xlabel('captioned clips')
  axes.set_ylabel('text-to-video R@1 (%)')
  axes.grid(alpha=0.3)
  axes.legend(frameon=False)
  for side in ('top', 'right'):
    axes.spines[side].set_visible(False)
  buffer = io.BytesIO()
  figure.savefig(buffer, format='png', bbox_inches='tight')
  plt.close(figure)
  return buffer.getvalue()
