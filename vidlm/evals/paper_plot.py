"""Figure 5 as a plot: a curve a source of captions, beside the paper's ends."""

import io
from collections.abc import Mapping
from typing import Any

try:
  import matplotlib
except ImportError as error:
  raise ImportError(
    "figure 5 needs matplotlib: pip install 'vidlm[miniature]'"
  ) from error

matplotlib.use('Agg')
from matplotlib import pyplot as plt


def curves(table: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
  """Returns each curve's cells by its name; rows are called 'NAME, PERCENT %'.

  Args:
    table: As scripts/paper_table.py gathers it.
  """
  found: dict[str, list[dict[str, Any]]] = {}
  for cell in table['cells']:
    name, _, percent = cell['row'].rpartition(', ')
    share = float(percent.removesuffix(' %'))
    found.setdefault(name, []).append({**cell, 'percent': share})
  return found


def svg(table: Mapping[str, Any]) -> str:
  """Draws the plot: ours with 95 % intervals, the paper's as hollow circles.

  Args:
    table: As scripts/paper_table.py gathers it.
  """
  # The same text for the same figures: no random ids, no date.
  with plt.rc_context(
    {'svg.hashsalt': 'vidlm', 'svg.fonttype': 'none', 'font.size': 10}
  ):
    figure, axes = plt.subplots(figsize=(6.4, 4))
    for name, cells in curves(table).items():
      _draw(axes, name, cells)
    axes.set_xscale('log')
    shares = sorted({c['percent'] for cs in curves(table).values() for c in cs})
    axes.set_xticks(shares, [f'{share:g} %' for share in shares])
    axes.minorticks_off()
    axes.set_xlabel('share of the captioned clips')
    axes.set_ylabel(table['cells'][0]['column'])
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    text = io.StringIO()
    figure.savefig(text, format='svg', metadata={'Date': None})
    plt.close(figure)
  # Without the XML declaration, so that it can stand in a page.
  return text.getvalue()[text.getvalue().index('<svg') :]


def _draw(axes: Any, name: str, cells: list[dict[str, Any]]) -> None:
  ours = [cell for cell in cells if cell['ours'] is not None]
  label = name if ours else f'{name} (not run)'
  [line] = axes.plot(
    [cell['percent'] for cell in ours],
    [cell['ours'] for cell in ours],
    marker='o',
    label=label,
  )
  color = line.get_color()
  for cell in ours:
    if 'interval_95' in cell:
      axes.vlines(cell['percent'], *cell['interval_95'], color=color, lw=1)
  paper = [cell for cell in cells if cell['paper'] is not None]
  axes.plot(
    [cell['percent'] for cell in paper],
    [cell['paper'] for cell in paper],
    'o',
    markerfacecolor='none',
    color=color,
    label=f'{name}, paper' if paper else None,
  )
