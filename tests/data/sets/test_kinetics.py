"""Kinetics' CSV variants and file names."""

import pytest

from vidlm.data.sets import build, kinetics


def test_variants(write, by_id) -> None:
  k700 = (
    'label,youtube_id,time_start,time_end,split\n'
    'testifying,---QUuC4vJs,84,94,validate\n'
    '"swing,  dancing",-_abc-efg_i,0,10,validate\n'
  )
  k400 = (
    'label,youtube_id,time_start,time_end,split,is_cc\n'
    '"air drumming",_dbcJuKJQNs,40,50,val,0\n'
    '"air drumming",_dbcJuKJQNs,40,50,val,0\n'
  )
  test = 'youtube_id,time_start,time_end,split\n__test__abc,1,11,test\n'
  bare = 'label,youtube_id,time_start,time_end\nrun,aaaaaaaaaaa,5.0,15.0\n'
  found = by_id(
    kinetics.read(
      [
        write('validate.csv', k700),
        write('k400_val.csv', k400),
        write('test.csv', test),
        write('train.csv', bare),
      ]
    )
  )
  assert {i: (r.label, r.split, r.source) for i, r in found.items()} == {
    '---QUuC4vJs_000084_000094': ('testifying', 'val', '---QUuC4vJs'),
    '-_abc-efg_i_000000_000010': ('swing, dancing', 'val', '-_abc-efg_i'),
    '_dbcJuKJQNs_000040_000050': ('air drumming', 'val', '_dbcJuKJQNs'),
    '__test__abc_000001_000011': ('', 'test', '__test__abc'),
    'aaaaaaaaaaa_000005_000015': ('run', 'train', 'aaaaaaaaaaa'),
  }


def test_files_with_spans_in_any_folder(write, make_videos) -> None:
  folder = make_videos(
    'testifying/---QUuC4vJs_000084_000094.mp4',
    'val/air_drumming/_dbcJuKJQNs_40_50.mkv',
    'whole/aaaaaaaaaaa.mp4',
  )
  text = 'label,youtube_id,time_start,time_end,split\n' + ''.join(
    f'x,{clip},val\n'
    for clip in (
      '---QUuC4vJs,84,94',
      '---QUuC4vJs,10,20',
      '_dbcJuKJQNs,40,50',
      'aaaaaaaaaaa,1,3',
    )
  )
  path = write('val.csv', text)
  entries, _, _ = build.collect('kinetics600', folder, [path])
  assert [(e.video, e.start, e.end, e.reason) for e in entries] == [
    ('testifying/---QUuC4vJs_000084_000094.mp4', None, None, ''),
    ('---QUuC4vJs_000010_000020', None, None, 'not_found'),
    ('val/air_drumming/_dbcJuKJQNs_40_50.mkv', None, None, ''),
    ('whole/aaaaaaaaaaa.mp4', 1.0, 3.0, ''),
  ]


def test_bad_tables(write) -> None:
  with pytest.raises(ValueError, match="no column 'youtube_id'"):
    list(kinetics.read([write('a.csv', 'id,start\nx,1\n')]))
  text = 'label,youtube_id,time_start,time_end\nrun,aaaaaaaaaaa,x,15\n'
  with pytest.raises(ValueError, match=r"a.csv:2: 'x' is not a number"):
    list(kinetics.read([write('a.csv', text)]))
