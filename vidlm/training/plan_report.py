"""A plan as text for people."""

from collections.abc import Mapping
from typing import Any

from vidlm.training import hardware


def render(report: Mapping[str, Any]) -> str:
  """Returns a report as text for people."""
  parameters = dict(report['parameters'])
  total, trainable = parameters.pop('total'), parameters.pop('trainable')
  parts = ', '.join(f'{name} {n:,}' for name, n in parameters.items())
  gib = {k: f'{n / hardware.GIB:.2f}' for k, n in report['bytes'].items()}
  accumulators = ''
  if report['bytes']['accumulators']:
    accumulators = f', accumulators {gib["accumulators"]}'
  chip = report['chip'] or f'chip of {report["peak_flops"] / 1e12:.0f} TFLOP/s'
  lines = [
    ('parameters', f'{total:,} ({parts})'),
    ('trainable', f'{trainable:,} ({trainable / total:.1%})'),
    (
      'state',
      f'{gib["total"]} GiB: trained {gib["trained"]}, frozen '
      f'{gib["frozen"]}, optimizer {gib["optimizer"]}{accumulators}',
    ),
    (
      'a step',
      f'{report["flops_per_step"] / 1e12:,.1f} TFLOP over a batch of '
      f'{report["batch_size"]:,}{_in_parts(report)}',
    ),
    (
      'the run',
      f'{report["flops"] / 1e18:,.2f} EFLOP in {report["train_steps"]:,} steps',
    ),
    (
      'time',
      f'{report["chip_hours"]:,.1f} chip-hours of {chip} at '
      f'{report["utilisation"]:.0%} of its peak'
      f'; {report["hours"]:,.1f} h on {report["chips"]}',
    ),
  ]
  if 'bytes_per_chip' in report:
    lines.append((report['topology'], _on_a_chip(report)))
  width = max(len(name) for name, _ in lines)
  return ''.join(f'{name:<{width}}  {text}\n' for name, text in lines)


def _in_parts(report: Mapping[str, Any]) -> str:
  """How the batch is split, and what that costs; nothing if it isn't."""
  number = report['num_microbatches']
  if number == 1:
    return ''
  text = f' in {number} parts of {report["batch_size"] // number:,}'
  repeated = report['repeated_flops_per_step']
  if repeated:
    whole = report['flops_per_step'] - repeated
    text += (
      f', {report["flops_per_step"] / whole:.2f} x those of one part: outputs '
      'are made twice'
    )
  return text


def _on_a_chip(report: Mapping[str, Any]) -> str:
  parts = report['bytes_per_chip_parts']
  split = ', '.join(
    f'{k} {parts[k] / hardware.GIB:.2f}'
    for k in ('argument', 'output', 'alias', 'temp')
  )
  fits = 'fits' if report['fits'] else 'DOES NOT FIT'
  mesh = report['mesh']
  return (
    f'{report["bytes_per_chip"] / hardware.GIB:.2f} GiB a chip ({split}), '
    f'mesh {mesh["data"]} x {mesh["model"]}: {fits}'
  )
