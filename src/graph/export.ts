/**
 * The graph in memory → messages. Whatever is as it was read is the very message it was read from, so
 * an untouched model comes back as it was, with all that attnc does not know about.
 * Where weights go is the caller's choice (`place`); this file writes no bytes.
 */

import type {
  FunctionMessage,
  GraphMessage,
  ModelMessage,
  NodeMessage,
  OperatorSetIdMessage,
  SparseTensorMessage,
  StringStringEntry,
  TensorMessage,
  ValueInfoMessage,
} from '../onnx/messages.js'
import { attributeTypes, copyMessage } from '../onnx/messages.js'
import type { Tensor } from '../onnx/tensor.js'
import {
  externalTensorMessage,
  readExternalPlace,
  tensorToMessage,
} from '../onnx/tensor-message.js'
import { closeBranches } from './close-branches.js'
import { type ExportContext, exportAttribute, exportNode, keepList } from './export-node.js'
import type { Graph, LocalFunction, Model, Value } from './graph.js'
import { domainName } from './graph-importer.js'
import { exportValueInfo } from './type-message.js'

export interface ExportOptions {
  /** Where the elements of a tensor lie beside the message; undefined: in the message. */
  place?(tensor: Tensor): { location: string; offset: number } | undefined
}

export function exportModel(open: Model, options: ExportOptions = {}): ModelMessage {
  const model = closeBranches(open)
  const original = model.message as ModelMessage | undefined
  const before = original?.functions ?? []
  const changes: Partial<Record<keyof ModelMessage, unknown>> = {
    ir_version: BigInt(model.irVersion),
    opset_import: exportOpsets(model.opsets, original?.opset_import),
    metadata_props: exportMetadata(model.metadata, original?.metadata_props),
    graph: exportGraph(model.graph, options),
    functions: keepList(
      model.functions.map((each) => exportFunction(each, options)),
      before,
    ),
  }
  if (changes.functions === before) delete changes.functions
  return changed(original, changes as Partial<ModelMessage>)
}

function exportGraph(graph: Graph, options: ExportOptions): GraphMessage {
  const original = graph.message as GraphMessage | undefined
  const context = contextOf(options)
  const nodes = [...graph.nodes()].map((node) => exportNode(node, context))
  const infos = (values: readonly Value[], before: readonly ValueInfoMessage[] | undefined) => {
    const known = byName(before)
    return keepList(
      values.map((value) => exportValueInfo(value, known.get(value.name))),
      before,
    )
  }
  return changed(original, {
    ...(original ? {} : { name: graph.name }),
    node: keepList(nodes, original?.node),
    ...exportInitializers(graph, original, options),
    input: infos(graph.inputs, original?.input),
    output: infos(graph.outputs, original?.output),
    value_info: exportInnerTypes(graph, original),
    quantization_annotation: exportAnnotations(graph, original),
  })
}

/** In the order of the file, new ones last. Sparse ones stay sparse until they are replaced. */
function exportInitializers(
  graph: Graph,
  original: GraphMessage | undefined,
  options: ExportOptions,
): Pick<GraphMessage, 'initializer' | 'sparse_initializer'> {
  const known = new Map(
    (original?.initializer ?? []).map((message, index) => [message.name ?? '', { message, index }]),
  )
  const knownSparse = new Set<unknown>(original?.sparse_initializer)
  const dense: { readonly message: TensorMessage; readonly index: number }[] = []
  const sparse = new Set<SparseTensorMessage>()
  for (const value of graph.initializers()) {
    const tensor = value.constant as Tensor
    const sparseMessage = tensor.message as SparseTensorMessage | undefined
    if (knownSparse.has(sparseMessage) && sparseMessage?.values?.name === value.name) {
      sparse.add(sparseMessage)
      continue
    }
    const before = known.get(value.name)
    const message = exportTensor(tensor, value.name, before?.message, options)
    dense.push({ message, index: before?.index ?? Number.POSITIVE_INFINITY })
  }
  dense.sort((one, other) => (one.index === other.index ? 0 : one.index - other.index))
  return definedOnly({
    initializer: keepList(
      dense.map((each) => each.message),
      original?.initializer,
    ),
    sparse_initializer: keepList(
      (original?.sparse_initializer ?? []).filter((each) => sparse.has(each)),
      original?.sparse_initializer,
    ),
  })
}

function exportTensor(
  tensor: Tensor,
  name: string | undefined,
  original: TensorMessage | undefined,
  options: ExportOptions,
): TensorMessage {
  const place = tensor.strings ? undefined : options.place?.(tensor)
  if (!place) return tensorToMessage(tensor, name, original)
  const own = tensor.message as TensorMessage | undefined
  const isThere =
    own === original &&
    own !== undefined &&
    readExternalPlace(own, tensor.byteLength) === `${place.location}\0${place.offset}`
  return isThere ? own : externalTensorMessage(tensor, name, place, original)
}

const contextOf = (options: ExportOptions): ExportContext => ({
  graph: (graph) => exportGraph(graph, options),
  tensor: (tensor, name, original) => exportTensor(tensor, name, original, options),
})

/** Declarations of values that are neither inputs nor outputs, and of those that are declared twice. */
function exportInnerTypes(
  graph: Graph,
  original: GraphMessage | undefined,
): readonly ValueInfoMessage[] | undefined {
  const before = original?.value_info
  if (!before?.length) return before
  let defined: Set<string> | undefined
  const list: ValueInfoMessage[] = []
  for (const info of before) {
    const name = info.name ?? ''
    const value = graph.values.get(name)
    defined ??= value ? defined : definedNames(original)
    // A declaration of nothing was so in the file; one of an erased value goes with it.
    if (value) list.push(exportValueInfo(value, info))
    else if (!defined?.has(name)) list.push(info)
  }
  return keepList(list, before)
}

function exportAnnotations(graph: Graph, original: GraphMessage | undefined) {
  const before = original?.quantization_annotation
  if (!before?.length) return before
  const defined = definedNames(original)
  return keepList(
    before.filter(({ tensor_name: name = '' }) => graph.values.has(name) || !defined.has(name)),
    before,
  )
}

const definedNames = (graph: GraphMessage | undefined): Set<string> =>
  new Set([
    ...(graph?.input ?? []).map((info) => info.name ?? ''),
    ...(graph?.initializer ?? []).map((tensor) => tensor.name ?? ''),
    ...(graph?.sparse_initializer ?? []).map((sparse) => sparse.values?.name ?? ''),
    ...(graph?.node ?? []).flatMap((node) => node.output ?? []),
  ])

function exportFunction(each: LocalFunction, options: ExportOptions): FunctionMessage {
  const original = each.message as FunctionMessage | undefined
  const { body } = each
  const context = contextOf(options)
  const nodes = [...body.nodes()].map((node) => exportNode(node, context))
  // A function has no initializers: constants that an edit added become nodes.
  const constants = [...body.initializers()].map((value) => constantNode(value))
  const names = (values: readonly Value[]): string[] => values.map((value) => value.name)
  const defaults = byName(original?.attribute_proto)
  return changed(original, {
    ...(original
      ? {}
      : {
          name: each.name,
          domain: each.domain,
          ...(each.overload ? { overload: each.overload } : {}),
        }),
    ...definedOnly({
      input: keepList(names(body.inputs), original?.input),
      output: keepList(names(body.outputs), original?.output),
      attribute: keepList(each.attributes, original?.attribute),
      attribute_proto: keepList(
        [...each.defaults].map(([name, attribute]) =>
          exportAttribute(name, attribute, defaults.get(name), context),
        ),
        original?.attribute_proto,
      ),
      node: keepList([...constants, ...nodes], original?.node),
      opset_import: exportOpsets(each.opsets, original?.opset_import),
      value_info: keepList(
        (original?.value_info ?? []).flatMap((info) => {
          const value = body.values.get(info.name ?? '')
          return value ? exportValueInfo(value, info) : info
        }),
        original?.value_info,
      ),
    }),
  })
}

const constantNode = (value: Value): NodeMessage => ({
  output: [value.name],
  name: value.name,
  op_type: 'Constant',
  attribute: [
    {
      name: 'value',
      type: attributeTypes.tensor,
      t: tensorToMessage(value.constant as Tensor, value.name),
    },
  ],
})

/** Versions as the map says; the file's own spelling of a domain stays. */
function exportOpsets(
  opsets: ReadonlyMap<string, number>,
  original: readonly OperatorSetIdMessage[] | undefined,
): readonly OperatorSetIdMessage[] | undefined {
  const before = original ?? []
  const known = new Set(before.map(({ domain }) => domainName(domain)))
  const kept = before
    .filter(({ domain }) => opsets.has(domainName(domain)))
    .map((each) => {
      const version = BigInt(opsets.get(domainName(each.domain)) ?? 0)
      return (each.version ?? 0n) === version ? each : copyMessage(each, { version })
    })
  const added = [...opsets]
    .filter(([domain]) => !known.has(domain))
    .map(([domain, version]) => ({ domain, version: BigInt(version) }))
  return keepList([...kept, ...added], original)
}

function exportMetadata(
  metadata: ReadonlyMap<string, string>,
  original: readonly StringStringEntry[] | undefined,
): readonly StringStringEntry[] | undefined {
  const known = new Map((original ?? []).map((entry) => [entry.key ?? '', entry]))
  const list = [...metadata].map(([key, value]) => {
    const before = known.get(key)
    return before && (before.value ?? '') === value ? before : copyMessage(before, { key, value })
  })
  return keepList(list, original)
}

const byName = <M extends { readonly name?: string }>(
  messages: readonly M[] | undefined,
): ReadonlyMap<string, M> => new Map((messages ?? []).map((each) => [each.name ?? '', each]))

/** `original` itself where every change is what it has already. */
function changed<M extends object>(
  original: M | undefined,
  changes: { readonly [Key in keyof M]?: M[Key] | undefined },
): M {
  const real = Object.entries(changes).filter(
    ([key, value]) => value !== undefined && original?.[key as keyof M] !== value,
  )
  return original && real.length === 0
    ? original
    : copyMessage(original, Object.fromEntries(real) as Partial<M>)
}

/** Without fields that are undefined, which the types of messages do not allow. */
const definedOnly = <Fields extends Record<string, unknown>>(
  fields: Fields,
): { [Key in keyof Fields]?: Exclude<Fields[Key], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Fields]?: Exclude<Fields[Key], undefined>
  }
