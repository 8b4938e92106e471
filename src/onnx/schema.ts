/**
 * The ONNX schema as field numbers, for protobufjs: all messages up to IR 13 / opset 26.
 * Written from the specification; names are the specification's, so that messages.ts reads like it.
 * Three deliberate differences that change nothing on the wire: enums are plain int32 (numbers of later
 * formats survive), a `oneof` is its members (both survive), and the packed number fields of a tensor
 * are lists of byte chunks (100 MB of float_data must not become 26 million JavaScript numbers).
 */
import protobuf from 'protobufjs/light.js'

type Spec = Readonly<Record<string, readonly [id: number, type: string]>>

/** `[]` marks a repeated field. */
const messages: Readonly<Record<string, Spec>> = {
  ModelProto: {
    ir_version: [1, 'int64'],
    producer_name: [2, 'string'],
    producer_version: [3, 'string'],
    domain: [4, 'string'],
    model_version: [5, 'int64'],
    doc_string: [6, 'string'],
    graph: [7, 'GraphProto'],
    opset_import: [8, 'OperatorSetIdProto[]'],
    metadata_props: [14, 'StringStringEntryProto[]'],
    training_info: [20, 'TrainingInfoProto[]'],
    functions: [25, 'FunctionProto[]'],
    configuration: [26, 'DeviceConfigurationProto[]'],
  },
  TrainingInfoProto: {
    initialization: [1, 'GraphProto'],
    algorithm: [2, 'GraphProto'],
    initialization_binding: [3, 'StringStringEntryProto[]'],
    update_binding: [4, 'StringStringEntryProto[]'],
  },
  DeviceConfigurationProto: {
    name: [1, 'string'],
    num_devices: [2, 'int32'],
    device: [3, 'string[]'],
  },
  OperatorSetIdProto: {
    domain: [1, 'string'],
    version: [2, 'int64'],
  },
  StringStringEntryProto: {
    key: [1, 'string'],
    value: [2, 'string'],
  },
  GraphProto: {
    node: [1, 'NodeProto[]'],
    name: [2, 'string'],
    initializer: [5, 'TensorProto[]'],
    doc_string: [10, 'string'],
    input: [11, 'ValueInfoProto[]'],
    output: [12, 'ValueInfoProto[]'],
    value_info: [13, 'ValueInfoProto[]'],
    quantization_annotation: [14, 'TensorAnnotation[]'],
    sparse_initializer: [15, 'SparseTensorProto[]'],
    metadata_props: [16, 'StringStringEntryProto[]'],
  },
  TensorAnnotation: {
    tensor_name: [1, 'string'],
    quant_parameter_tensor_names: [2, 'StringStringEntryProto[]'],
  },
  FunctionProto: {
    name: [1, 'string'],
    input: [4, 'string[]'],
    output: [5, 'string[]'],
    attribute: [6, 'string[]'],
    node: [7, 'NodeProto[]'],
    doc_string: [8, 'string'],
    opset_import: [9, 'OperatorSetIdProto[]'],
    domain: [10, 'string'],
    attribute_proto: [11, 'AttributeProto[]'],
    value_info: [12, 'ValueInfoProto[]'],
    overload: [13, 'string'],
    metadata_props: [14, 'StringStringEntryProto[]'],
  },
  NodeProto: {
    input: [1, 'string[]'],
    output: [2, 'string[]'],
    name: [3, 'string'],
    op_type: [4, 'string'],
    attribute: [5, 'AttributeProto[]'],
    doc_string: [6, 'string'],
    domain: [7, 'string'],
    overload: [8, 'string'],
    metadata_props: [9, 'StringStringEntryProto[]'],
    device_configurations: [10, 'NodeDeviceConfigurationProto[]'],
  },
  NodeDeviceConfigurationProto: {
    configuration_id: [1, 'string'],
    sharding_spec: [2, 'ShardingSpecProto[]'],
    pipeline_stage: [3, 'int32'],
  },
  ShardingSpecProto: {
    tensor_name: [1, 'string'],
    device: [2, 'int64[]'],
    index_to_device_group_map: [3, 'IntIntListEntryProto[]'],
    sharded_dim: [4, 'ShardedDimProto[]'],
  },
  IntIntListEntryProto: {
    key: [1, 'int64'],
    value: [2, 'int64[]'],
  },
  ShardedDimProto: {
    axis: [1, 'int64'],
    simple_sharding: [2, 'SimpleShardedDimProto[]'],
  },
  SimpleShardedDimProto: {
    dim_value: [1, 'int64'],
    dim_param: [2, 'string'],
    num_shards: [3, 'int64'],
  },
  AttributeProto: {
    name: [1, 'string'],
    f: [2, 'float'],
    i: [3, 'int64'],
    s: [4, 'bytes'],
    t: [5, 'TensorProto'],
    g: [6, 'GraphProto'],
    floats: [7, 'float[]'],
    ints: [8, 'int64[]'],
    strings: [9, 'bytes[]'],
    tensors: [10, 'TensorProto[]'],
    graphs: [11, 'GraphProto[]'],
    doc_string: [13, 'string'],
    tp: [14, 'TypeProto'],
    type_protos: [15, 'TypeProto[]'],
    type: [20, 'int32'],
    ref_attr_name: [21, 'string'],
    sparse_tensor: [22, 'SparseTensorProto'],
    sparse_tensors: [23, 'SparseTensorProto[]'],
  },
  ValueInfoProto: {
    name: [1, 'string'],
    type: [2, 'TypeProto'],
    doc_string: [3, 'string'],
    metadata_props: [4, 'StringStringEntryProto[]'],
  },
  TensorProto: {
    dims: [1, 'int64[]'],
    data_type: [2, 'int32'],
    segment: [3, 'Segment'],
    float_data: [4, 'bytes[]'],
    int32_data: [5, 'bytes[]'],
    string_data: [6, 'bytes[]'],
    int64_data: [7, 'bytes[]'],
    name: [8, 'string'],
    raw_data: [9, 'bytes'],
    double_data: [10, 'bytes[]'],
    uint64_data: [11, 'bytes[]'],
    doc_string: [12, 'string'],
    external_data: [13, 'StringStringEntryProto[]'],
    data_location: [14, 'int32'],
    metadata_props: [16, 'StringStringEntryProto[]'],
  },
  Segment: {
    begin: [1, 'int64'],
    end: [2, 'int64'],
  },
  SparseTensorProto: {
    values: [1, 'TensorProto'],
    indices: [2, 'TensorProto'],
    dims: [3, 'int64[]'],
  },
  TypeProto: {
    tensor_type: [1, 'TensorType'],
    sequence_type: [4, 'ElementType'],
    map_type: [5, 'MapType'],
    denotation: [6, 'string'],
    opaque_type: [7, 'OpaqueType'],
    sparse_tensor_type: [8, 'TensorType'],
    optional_type: [9, 'ElementType'],
  },
  TensorType: {
    elem_type: [1, 'int32'],
    shape: [2, 'TensorShapeProto'],
  },
  ElementType: {
    elem_type: [1, 'TypeProto'],
  },
  MapType: {
    key_type: [1, 'int32'],
    value_type: [2, 'TypeProto'],
  },
  OpaqueType: {
    domain: [1, 'string'],
    name: [2, 'string'],
  },
  TensorShapeProto: {
    dim: [1, 'Dimension[]'],
  },
  Dimension: {
    dim_value: [1, 'int64'],
    dim_param: [2, 'string'],
    denotation: [3, 'string'],
  },
}

/** Field numbers of a tensor that other code must know: file reading and unpacked numbers. */
export const fieldNumbers = {
  modelGraph: messages.ModelProto?.graph?.[0] as number,
  graphInitializer: messages.GraphProto?.initializer?.[0] as number,
  tensorRawData: messages.TensorProto?.raw_data?.[0] as number,
  float_data: messages.TensorProto?.float_data?.[0] as number,
  int32_data: messages.TensorProto?.int32_data?.[0] as number,
  int64_data: messages.TensorProto?.int64_data?.[0] as number,
  double_data: messages.TensorProto?.double_data?.[0] as number,
  uint64_data: messages.TensorProto?.uint64_data?.[0] as number,
} as const

/** Builds the protobufjs types; they are compiled at first use, so build them once and keep them. */
export function buildSchema(): protobuf.Root {
  const nested: Record<string, protobuf.IType> = {}
  for (const [name, spec] of Object.entries(messages)) {
    const fields: Record<string, protobuf.IField> = {}
    for (const [field, [id, type]] of Object.entries(spec))
      fields[field] = type.endsWith('[]')
        ? { id, type: type.slice(0, -2), rule: 'repeated' }
        : { id, type }
    nested[name] = { edition: 'proto2', fields }
  }
  return protobuf.Root.fromJSON({ nested: { onnx: { nested } } })
}
