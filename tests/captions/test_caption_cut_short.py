"""A clip in which its file breaks off is captioned, and its row says so."""

import pathlib
import sys

import pytest

from vidlm.captions import caption, folder, verify
from vidlm.data.store import caption_sets as captions_lib
from vidlm.data.video import sampling

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'data' / 'video'))
import odd_films as films


@pytest.mark.parametrize('damaged', ['flag', 'refuse'])
def test_a_row_says_that_its_clip_is_cut_short(
  fakes, tmp_path, damaged
) -> None:
  videos = tmp_path / 'videos'
  videos.mkdir()
  films.write(videos / 'a.mp4', range(50))
  fast = {'movflags': 'faststart'}
  whole = films.write(tmp_path / 'b.mp4', range(50), muxer=fast).read_bytes()
  (videos / 'b.mp4').write_bytes(whole[: len(whole) * 3 // 4])
  caption.caption(
    captioner=fakes.FakeCaptioner(),
    output=str(tmp_path / 'out'),
    videos=str(videos),
    cutting=folder.Cutting(sampling=sampling.Sampling(damaged=damaged)),
    workers=1,
    run=caption.Run(process_index=0, process_count=1),
  )
  assert verify.verify(str(tmp_path / 'out')).ok
  table = captions_lib.read_captions(str(tmp_path / 'out'))
  good, cut = table.to_pylist()
  assert good['status'] == 'ok' and not good['error'] and good['end'] == 2.0
  if damaged == 'flag':
    assert cut['status'] == 'ok' and len(cut['captions'])
    assert cut['error'].startswith('cut_short: ') and cut['end'] < 1.9
  else:
    assert cut['status'] == 'failed'
    assert cut['error'].startswith('truncated: ')
