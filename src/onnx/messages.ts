/**
 * The messages of schema.ts as TypeScript sees them. Absent fields are undefined; integers of 64 bits
 * are `Long`, so that none is rounded. Fields that nothing here reads are left out: they are carried.
 */
import type Long from 'long'

export type Int = Long

export interface Entry {
  key?: string
  value?: string
}

export interface TensorMessage {
  dims?: Int[]
  dataType?: number
  segment?: unknown
  floatData?: number[]
  int32Data?: number[]
  stringData?: Uint8Array[]
  int64Data?: Int[]
  name?: string
  rawData?: Uint8Array
  doubleData?: number[]
  uint64Data?: Int[]
  externalData?: Entry[]
  dataLocation?: number
}

export interface SparseTensorMessage {
  values?: TensorMessage
  indices?: TensorMessage
  dims?: Int[]
}

export interface DimensionMessage {
  dimValue?: Int
  dimParam?: string
  denotation?: string
}

export interface TypeMessage {
  tensorType?: { elemType?: number; shape?: { dim?: DimensionMessage[] } }
  denotation?: string
}

export interface ValueInfoMessage {
  name?: string
  type?: TypeMessage
}

export interface AttributeMessage {
  name?: string
  f?: number
  i?: Int
  s?: Uint8Array
  t?: TensorMessage
  g?: GraphMessage
  floats?: number[]
  ints?: Int[]
  strings?: Uint8Array[]
  tensors?: TensorMessage[]
  graphs?: GraphMessage[]
  type?: number
  refAttrName?: string
}

export interface NodeMessage {
  input?: string[]
  output?: string[]
  name?: string
  opType?: string
  attribute?: AttributeMessage[]
  domain?: string
  overload?: string
  metadataProps?: Entry[]
}

export interface GraphMessage {
  node?: NodeMessage[]
  name?: string
  initializer?: TensorMessage[]
  input?: ValueInfoMessage[]
  output?: ValueInfoMessage[]
  valueInfo?: ValueInfoMessage[]
  sparseInitializer?: SparseTensorMessage[]
}

export interface OpsetMessage {
  domain?: string
  version?: Int
}

export interface FunctionMessage {
  name?: string
  input?: string[]
  output?: string[]
  attribute?: string[]
  node?: NodeMessage[]
  opsetImport?: OpsetMessage[]
  domain?: string
  attributeProto?: AttributeMessage[]
  overload?: string
}

export interface ModelMessage {
  irVersion?: Int
  graph?: GraphMessage
  opsetImport?: OpsetMessage[]
  metadataProps?: Entry[]
  functions?: FunctionMessage[]
}
