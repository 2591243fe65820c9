"""The paper's tables: which score stands where, and what the paper printed.

Figures are those of "Distilling Vision-Language Models on Millions of Videos",
tables 2 to 6 and 11 and figure 5; the scores' names are those of `vidlm eval`
and `dualenc eval`.
"""

from collections.abc import Mapping, Sequence

# Column -> (task, where in the score, factor to the paper's scale).
Column = tuple[str, tuple[str, ...], float]
_RETRIEVAL: dict[str, Column] = {
  f'{name} R@{k}': (task, ('t2v', f'R@{k}'), 100.0)
  for name, task in (('MSR-VTT', 'msrvtt_1ka'), ('VATEX', 'vatex_1.5k'))
  for k in (1, 5, 10)
}
_ZERO_SHOT: dict[str, Column] = {
  **_RETRIEVAL,
  'K600 top-1': ('kinetics600', ('top1',), 100.0),
  'K600 top-5': ('kinetics600', ('top5',), 100.0),
}
_CIDER = ('cider',), 100.0
_SEGMENTS: Column = ('activitynet_captions_segments', *_CIDER)
_MSRVTT: Column = ('msrvtt_captions', *_CIDER)
_WUPS: Column = ('next_oe', ('wups',), 100.0)
_R1: dict[str, Column] = {'MSR-VTT R@1': _RETRIEVAL['MSR-VTT R@1']}
_BOTH = (48.4, 73.5, 81.9, 65.6, 91.7, 95.8, 62.8, 86.4)
_VIDEOCC = (48.2, 72.2, 80.8, 64.2, 90.2, 95.1, 61.1, 85.6)
_INTERNVID = (46.3, 71.5, 80.3, 65.2, 91.3, 95.5, 62.7, 86.2)

# Name -> title, columns, and rows: file name -> (what it is, paper's figures).
Row = tuple[str, Sequence[float | None]]
TABLES: dict[str, tuple[str, Mapping[str, Column], Mapping[str, Row]]] = {
  'table_2': (
    'Table 2: zero-shot retrieval and classification, ViT-st-L/14',
    _ZERO_SHOT,
    {
      'clip': (
        'CLIP, frame by frame',
        (31.2, 53.7, 64.2, 45.2, None, None, 55.1, 79.2),
      ),
      'videocc': (
        'VideoCC, alt-text',
        (37.0, 62.1, 72.5, 37.7, 66.9, 77.2, 48.6, 74.8),
      ),
      'videocc_plus': ('VideoCC+', _VIDEOCC),
      'internvid': (
        'InternVid, its captions',
        (42.5, 67.0, 76.8, 58.7, 87.0, 93.0, 60.7, 85.0),
      ),
      'internvid_plus': ('InternVid+', _INTERNVID),
      'both_plus': ('VideoCC+ and InternVid+', _BOTH),
    },
  ),
  'table_3': (
    'Table 3: zero-shot captions and answers of the video VLM',
    {
      'MSR-VTT CIDEr': _MSRVTT,
      'MSRVTT-QA': ('msrvtt_qa', ('accuracy',), 100.0),
      'ActivityNet CIDEr, per segment': _SEGMENTS,
      'the same, per video': ('activitynet_captions_densevid', *_CIDER),
      'ActivityNet-QA': ('activitynet_qa', ('accuracy',), 100.0),
      'NExT-OE WUPS': _WUPS,
    },
    {
      'image': ('image VLM, 8 frames', (21.3, 12.7, 13.8, None, 22.9, 23.2)),
      'adapted': ('adapted', (48.2, 24.4, 31.0, None, 29.6, 29.5)),
    },
  ),
  'table_4': (
    'Table 4: sources of captions, ViT-st-B/16 on VideoCC',
    _R1,
    {
      'alt_text': ('alt-text', (37.0,)),
      'frames': ('image VLM, frame by frame', (39.5,)),
      'frames_llm': ('the same, summarized by an LLM', (39.8,)),
      'visual': ('visual adaptation, one caption', (41.7,)),
      'visual_multi': ('visual adaptation, several', (43.6,)),
      'adapted_multi': ('visual and language adaptation, several', (44.3,)),
    },
  ),
  'table_5': (
    'Table 5: what visual adaptation trains',
    {'S-MiT CIDEr': ('smit_captions', *_CIDER)},
    {
      'language': ('language model', (41.2,)),
      'visual': ('visual encoder', (42.3,)),
      'both': ('both', (40.3,)),
      'visual_self': ('visual encoder, self-training', (43.5,)),
    },
  ),
  'table_6': (
    'Table 6: instruction data',
    {'MSR-VTT CIDEr': _MSRVTT, 'ActivityNet CIDEr': _SEGMENTS, 'NExT': _WUPS},
    {
      'none': ('none', (21.3, 13.8, 23.2)),
      'llava': ('LLaVA 1.0', (16.9, 25.1, 16.3)),
      'activitynet_instruct': ('ActivityNet-Instruct', (30.8, 34.6, 11.7)),
      'reasoning': ('causal and temporal reasoning', (28.5, 29.5, 5.0)),
      'reasoning_smit': ('+ S-MiT captions', (51.6, 35.1, 3.9)),
      'reasoning_smit_short': ('+ short answers', (48.2, 31.0, 29.5)),
    },
  ),
  'table_11': (
    'Table 11: human captions against distilled ones, ViT-st-L/14',
    _ZERO_SHOT,
    {
      'smit': ('S-MiT', (45.2, 70.8, 80.5, 66.7, 92.0, 96.2, 64.2, 88.8)),
      'videocc_plus': ('VideoCC+', _VIDEOCC),
      'internvid_plus': ('InternVid+', _INTERNVID),
      'both_plus': ('VideoCC+ and InternVid+', _BOTH),
    },
  ),
  'figure_5': (
    # The text gives the ends of the curves only.
    'Figure 5: MSR-VTT R@1 by the share of VideoCC, ViT-st-L/14',
    _R1,
    {
      f'{source}_{percent}': (f'{name}, {percent} %', (ends.get(percent),))
      for source, name, ends in (
        ('alt_text', 'alt-text', {100: 37.0}),
        ('image', 'image VLM', {}),
        ('distilled', 'distilled', {100: 48.2}),
      )
      for percent in (1, 10, 30, 100)
    },
  ),
}
