/**
 * Messages → the graph in memory. Names become values once, inner graphs see the values around them,
 * nodes come into an order in which every value is made before it is read.
 * What attnc does not read stays in `message` and is written back by export.ts.
 */
import { AttncError } from '../errors.js'
import { ExternalFiles } from '../onnx/external-data.js'
import type {
  FunctionMessage,
  GraphMessage,
  ModelMessage,
  OperatorSetIdMessage,
} from '../onnx/messages.js'
import { Graph, type LocalFunction, Model } from './graph.js'
import { domainName, GraphImporter } from './graph-importer.js'
import { nodesInside } from './links.js'

/** The newest formats that ONNX Runtime takes and attnc knows. */
const lastIrVersion = 13

const lastOpset = 26

export interface ImportOptions {
  /** Where external data lies; a model without one must hold its weights. */
  readonly files?: ExternalFiles | undefined
}

/** The graph of a model message. `where`: its folder, or the files of its external data. */
export function importModel(message: ModelMessage, where?: string | ImportOptions): Model {
  const files = typeof where === 'string' ? new ExternalFiles(where) : where?.files
  const model = new Model(message.graph?.name ?? 'main')
  model.message = message
  model.irVersion = Number(message.ir_version ?? 0)
  importOpsets(message.opset_import, model.opsets)
  checkVersions(model, message.graph)
  for (const entry of message.metadata_props ?? [])
    model.metadata.set(entry.key ?? '', entry.value ?? '')
  new GraphImporter(model.graph, files).fill(message.graph ?? {})
  for (const each of message.functions ?? [])
    model.functions.push(importFunction(each, model, files))
  checkFunctions(model)
  return model
}

function checkVersions(model: Model, graph: GraphMessage | undefined): void {
  const tooNew = (code: string, what: string): AttncError =>
    new AttncError(code, 'model', `The model uses ${what}.`, {
      suggestions: ['Export it for an older version, or update attnc.'],
    })
  const { irVersion } = model
  if (irVersion > lastIrVersion)
    throw tooNew('IR_TOO_NEW', `IR version ${irVersion}; versions up to ${lastIrVersion} are known`)
  const opset = model.opsets.get('')
  if (opset !== undefined && opset > lastOpset)
    throw tooNew('OPSET_TOO_NEW', `opset ${opset}; opsets up to ${lastOpset} are known`)
  const usesStandard = (graph?.node ?? []).some(({ domain }) => domainName(domain) === '')
  const isMissing = model.opsets.size === 0 || (usesStandard && opset === undefined)
  if (irVersion >= 3 && isMissing)
    throw new AttncError(
      'OPSET_MISSING',
      'model',
      `The model has IR version ${irVersion} but names no operator set${model.opsets.size > 0 ? ' of ai.onnx, whose operators it has' : ''}; from version 3 on it must.`,
      { suggestions: ['Export the model again.'] },
    )
}

function importOpsets(
  messages: readonly OperatorSetIdMessage[] | undefined,
  opsets: Map<string, number>,
): void {
  for (const { domain, version } of messages ?? [])
    opsets.set(domainName(domain), Number(version ?? 0))
}

function importFunction(
  message: FunctionMessage,
  model: Model,
  files: ExternalFiles | undefined,
): LocalFunction {
  const opsets = new Map<string, number>()
  importOpsets(message.opset_import, opsets)
  const body = new Graph(message.name ?? '', model)
  const importer = new GraphImporter(body, files)
  importer.fill({
    node: message.node ?? [],
    input: (message.input ?? []).map((name) => ({ name })),
    output: (message.output ?? []).map((name) => ({ name })),
    value_info: message.value_info ?? [],
  })
  body.message = message
  const defaults = new Map(
    (message.attribute_proto ?? []).map((each) => [each.name ?? '', importer.attribute(each)]),
  )
  return {
    domain: domainName(message.domain),
    name: message.name ?? '',
    overload: message.overload ?? '',
    body,
    opsets,
    attributes: message.attribute ?? [],
    defaults,
    message,
  }
}

/** Functions are told apart by domain, name and overload, and none calls itself. */
function checkFunctions(model: Model): void {
  const { functions } = model
  const calls = (each: LocalFunction): LocalFunction[] =>
    [...each.body.nodes()].flatMap((node) =>
      [node, ...nodesInside(node)].flatMap((inner) => model.findFunction(inner) ?? []),
    )
  const open = new Set<LocalFunction>()
  const done = new Set<LocalFunction>()
  const visit = (each: LocalFunction): void => {
    if (done.has(each)) return
    if (open.has(each)) throw functionError('CYCLIC_FUNCTION', each, 'calls itself')
    open.add(each)
    for (const called of calls(each)) visit(called)
    open.delete(each)
    done.add(each)
  }
  for (const each of functions) {
    const same = (other: LocalFunction): boolean =>
      other.domain === each.domain && other.name === each.name && other.overload === each.overload
    if (functions.find(same) !== each)
      throw functionError('DUPLICATE_DEFINITION', each, 'is defined twice')
    visit(each)
  }
}

const functionError = (code: string, each: LocalFunction, what: string): AttncError =>
  new AttncError(code, 'model', `Function "${each.domain}.${each.name}" ${what}.`, {
    suggestions: ['Export the model again.'],
  })
