"""`tf.train.Example`, the message a clip record is, without TensorFlow.

Source of behaviour: TensorFlow's `core/example/example.proto` and
`feature.proto`. The messages are described here in a pool of their own, so
they live beside TensorFlow's and TFDS's in one process.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import (
  descriptor_pb2,
  descriptor_pool,
  message,
  message_factory,
)

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = 'vidlm'  # another than TensorFlow's: one name, one description
_LISTS = {
  'BytesList': _Field.TYPE_BYTES,
  'FloatList': _Field.TYPE_FLOAT,
  'Int64List': _Field.TYPE_INT64,
}


def _add_field(
  described: Any, name: str, number: int, of: int | str, repeated: bool = False
) -> Any:
  label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
  field = described.field.add(name=name, number=number, label=label)
  if isinstance(of, str):
    field.type, field.type_name = _Field.TYPE_MESSAGE, f'.{_PACKAGE}.{of}'
  else:
    field.type = of
  return field


def _example_class() -> type[message.Message]:
  file = descriptor_pb2.FileDescriptorProto(
    name='vidlm/example.proto', package=_PACKAGE, syntax='proto3'
  )
  for name, of in _LISTS.items():
    _add_field(file.message_type.add(name=name), 'value', 1, of, repeated=True)
  feature = file.message_type.add(name='Feature')
  feature.oneof_decl.add(name='kind')
  for number, name in enumerate(_LISTS, 1):
    field = _add_field(feature, _field_name(name), number, name)
    field.oneof_index = 0
  features = file.message_type.add(name='Features')
  entry = features.nested_type.add(name='FeatureEntry')
  entry.options.map_entry = True
  _add_field(entry, 'key', 1, _Field.TYPE_STRING)
  _add_field(entry, 'value', 2, 'Feature')
  _add_field(features, 'feature', 1, 'Features.FeatureEntry', repeated=True)
  _add_field(file.message_type.add(name='Example'), 'features', 1, 'Features')
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  found = pool.FindMessageTypeByName(f'{_PACKAGE}.Example')
  return message_factory.GetMessageClass(found)


def _field_name(list_name: str) -> str:
  return f'{list_name.removesuffix("List").lower()}_list'


_Example = _example_class()


def parse(record: bytes) -> Any:
  """Returns the message of a record.

  Raises:
    ValueError: If the record is damaged.
  """
  try:
    return _Example.FromString(record)
  except message.DecodeError as error:
    raise ValueError(f'no clip record ({len(record)} bytes): {error}') from None


def serialize(
  texts: Mapping[str, Sequence[bytes]], numbers: Mapping[str, Sequence[float]]
) -> bytes:
  """Returns a record of lists of bytes and of floats, in one form.

  protobuf orders a map's fields anew in every process, unless told.
  """
  example = _Example()
  feature = example.features.feature
  for name, values in texts.items():
    feature[name].bytes_list.SetInParent()  # an empty list is one, too
    feature[name].bytes_list.value.extend(values)
  for name, floats in numbers.items():
    feature[name].float_list.SetInParent()
    feature[name].float_list.value.extend(floats)
  return example.SerializeToString(deterministic=True)
