/**
 * The messages of the ONNX format as TypeScript types, in the names of the specification (IR 13).
 * Every field is optional: presence is kept, as it decides what is written back.
 * The surprise: packed number fields of tensors stay undecoded chunks, and `raw_data` may lie in a file.
 */

/** Bytes that are fetched by range, so that they need not be in memory. */
export interface ByteSource {
  readonly byteLength: number
  /** Fills `target` with the bytes that start at `from`. */
  read(from: number, target: Uint8Array): void
  /** All of them, where they are computed and reading by range would repeat that. */
  whole?(): Uint8Array
  /** Where they lie unchanged, when they lie in a file. */
  readonly file?: { readonly path: string; readonly offset: number } | undefined
}

/** Fields of later formats, as they were; each is a whole field with its tag. */
export interface Message {
  readonly $unknowns?: readonly Uint8Array[]
}

export interface StringStringEntry extends Message {
  readonly key?: string
  readonly value?: string
}

export interface OperatorSetIdMessage extends Message {
  readonly domain?: string
  readonly version?: bigint
}

export interface ModelMessage extends Message {
  readonly ir_version?: bigint
  readonly opset_import?: readonly OperatorSetIdMessage[]
  readonly producer_name?: string
  readonly producer_version?: string
  readonly domain?: string
  readonly model_version?: bigint
  readonly doc_string?: string
  readonly graph?: GraphMessage
  readonly metadata_props?: readonly StringStringEntry[]
  readonly training_info?: readonly TrainingInfoMessage[]
  readonly functions?: readonly FunctionMessage[]
  readonly configuration?: readonly DeviceConfigurationMessage[]
}

export interface TrainingInfoMessage extends Message {
  readonly initialization?: GraphMessage
  readonly algorithm?: GraphMessage
  readonly initialization_binding?: readonly StringStringEntry[]
  readonly update_binding?: readonly StringStringEntry[]
}

export interface DeviceConfigurationMessage extends Message {
  readonly name?: string
  readonly num_devices?: number
  readonly device?: readonly string[]
}

export interface GraphMessage extends Message {
  readonly node?: readonly NodeMessage[]
  readonly name?: string
  readonly initializer?: readonly TensorMessage[]
  readonly sparse_initializer?: readonly SparseTensorMessage[]
  readonly doc_string?: string
  readonly input?: readonly ValueInfoMessage[]
  readonly output?: readonly ValueInfoMessage[]
  readonly value_info?: readonly ValueInfoMessage[]
  readonly quantization_annotation?: readonly TensorAnnotationMessage[]
  readonly metadata_props?: readonly StringStringEntry[]
}

export interface TensorAnnotationMessage extends Message {
  readonly tensor_name?: string
  readonly quant_parameter_tensor_names?: readonly StringStringEntry[]
}

export interface FunctionMessage extends Message {
  readonly name?: string
  readonly input?: readonly string[]
  readonly output?: readonly string[]
  readonly attribute?: readonly string[]
  readonly attribute_proto?: readonly AttributeMessage[]
  readonly node?: readonly NodeMessage[]
  readonly doc_string?: string
  readonly opset_import?: readonly OperatorSetIdMessage[]
  readonly domain?: string
  readonly overload?: string
  readonly value_info?: readonly ValueInfoMessage[]
  readonly metadata_props?: readonly StringStringEntry[]
}

export interface NodeMessage extends Message {
  readonly input?: readonly string[]
  readonly output?: readonly string[]
  readonly name?: string
  readonly op_type?: string
  readonly domain?: string
  readonly overload?: string
  readonly attribute?: readonly AttributeMessage[]
  readonly doc_string?: string
  readonly metadata_props?: readonly StringStringEntry[]
  readonly device_configurations?: readonly NodeDeviceConfigurationMessage[]
}

export interface NodeDeviceConfigurationMessage extends Message {
  readonly configuration_id?: string
  readonly sharding_spec?: readonly ShardingSpecMessage[]
  readonly pipeline_stage?: number
}

export interface ShardingSpecMessage extends Message {
  readonly tensor_name?: string
  readonly device?: readonly bigint[]
  readonly index_to_device_group_map?: readonly IntIntListEntryMessage[]
  readonly sharded_dim?: readonly ShardedDimMessage[]
}

export interface IntIntListEntryMessage extends Message {
  readonly key?: bigint
  readonly value?: readonly bigint[]
}

export interface ShardedDimMessage extends Message {
  readonly axis?: bigint
  readonly simple_sharding?: readonly SimpleShardedDimMessage[]
}

export interface SimpleShardedDimMessage extends Message {
  readonly dim_value?: bigint
  readonly dim_param?: string
  readonly num_shards?: bigint
}

export interface AttributeMessage extends Message {
  readonly name?: string
  readonly ref_attr_name?: string
  readonly doc_string?: string
  readonly type?: number
  readonly f?: number
  readonly i?: bigint
  readonly s?: Uint8Array
  readonly t?: TensorMessage
  readonly g?: GraphMessage
  readonly sparse_tensor?: SparseTensorMessage
  readonly tp?: TypeMessage
  readonly floats?: readonly number[]
  readonly ints?: readonly bigint[]
  readonly strings?: readonly Uint8Array[]
  readonly tensors?: readonly TensorMessage[]
  readonly graphs?: readonly GraphMessage[]
  readonly sparse_tensors?: readonly SparseTensorMessage[]
  readonly type_protos?: readonly TypeMessage[]
}

/** AttributeProto.AttributeType */
export const attributeTypes = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
  tensors: 9,
  graphs: 10,
  sparseTensor: 11,
  sparseTensors: 12,
  typeProto: 13,
  typeProtos: 14,
} as const

export interface ValueInfoMessage extends Message {
  readonly name?: string
  readonly type?: TypeMessage
  readonly doc_string?: string
  readonly metadata_props?: readonly StringStringEntry[]
}

export interface TensorMessage extends Message {
  readonly dims?: readonly bigint[]
  readonly data_type?: number
  readonly segment?: SegmentMessage
  /** Packed chunks: float32 and complex64, 4 bytes a number. */
  readonly float_data?: readonly Uint8Array[]
  /** Packed chunks of varints: all integer and small types up to 32 bits. */
  readonly int32_data?: readonly Uint8Array[]
  readonly string_data?: readonly Uint8Array[]
  /** Packed chunks of varints. */
  readonly int64_data?: readonly Uint8Array[]
  readonly name?: string
  readonly doc_string?: string
  readonly raw_data?: Uint8Array | ByteSource
  readonly external_data?: readonly StringStringEntry[]
  /** 0: in the message; 1: in `external_data`. */
  readonly data_location?: number
  /** Packed chunks: float64 and complex128, 8 bytes a number. */
  readonly double_data?: readonly Uint8Array[]
  /** Packed chunks of varints: uint32 and uint64. */
  readonly uint64_data?: readonly Uint8Array[]
  readonly metadata_props?: readonly StringStringEntry[]
}

export interface SegmentMessage extends Message {
  readonly begin?: bigint
  readonly end?: bigint
}

export interface SparseTensorMessage extends Message {
  readonly values?: TensorMessage
  readonly indices?: TensorMessage
  readonly dims?: readonly bigint[]
}

export interface TypeMessage extends Message {
  readonly tensor_type?: TensorTypeMessage
  readonly sequence_type?: ElementTypeMessage
  readonly map_type?: MapTypeMessage
  readonly optional_type?: ElementTypeMessage
  readonly sparse_tensor_type?: TensorTypeMessage
  readonly opaque_type?: OpaqueTypeMessage
  readonly denotation?: string
}

export interface TensorTypeMessage extends Message {
  readonly elem_type?: number
  readonly shape?: ShapeMessage
}

export interface ElementTypeMessage extends Message {
  readonly elem_type?: TypeMessage
}

export interface MapTypeMessage extends Message {
  readonly key_type?: number
  readonly value_type?: TypeMessage
}

export interface OpaqueTypeMessage extends Message {
  readonly domain?: string
  readonly name?: string
}

export interface ShapeMessage extends Message {
  readonly dim?: readonly DimensionMessage[]
}

export interface DimensionMessage extends Message {
  readonly dim_value?: bigint
  readonly dim_param?: string
  readonly denotation?: string
}

/** A copy with some fields changed; fields of later formats stay. `undefined` removes a field. */
export function copyMessage<M extends Message>(
  message: M | undefined,
  changes: { readonly [Key in keyof M]?: M[Key] | undefined },
): M {
  const copy: Record<string, unknown> = { ...message }
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) delete copy[key]
    else copy[key] = value
  }
  const unknowns = '$unknowns' in changes ? changes.$unknowns : message?.$unknowns
  delete copy.$unknowns
  if (unknowns) Object.defineProperty(copy, '$unknowns', { value: unknowns, enumerable: false })
  return copy as M
}
