/**
 * How long single operators take on single shapes: each is run alone, as a model of one node, its weights
 * packed as they would be. What ONNX Runtime would fuse is not, so sums are too large by a factor that is
 * nearly the same for all sizes; who predicts a whole model scales by one time of the whole.
 */
import { extractSubgraph } from '../graph/extract.js'
import {
  type Attribute,
  innerGraphs,
  type Node,
  type TensorType,
  type Value,
} from '../graph/graph.js'
import { fromConstant, type RuntimeTensor, zeros } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'
import type { RunOptions } from '../runtime/batches.js'
import { materialise } from '../runtime/materialise.js'
import { openSession } from '../runtime/session.js'
import type { ShapeInfo } from '../shape/infer.js'
import { knownSizes } from '../shape/known-sizes.js'
import { TimeCache } from './time-cache.js'

/** A run is over after so many times, or milliseconds. */
const pace = { least: 5, most: 40, milliseconds: 25 }

/** They move no data. */
const views: ReadonlySet<string> = new Set(
  ['Constant', 'Shape', 'Size', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity'].map(
    (op) => op,
  ),
)

interface Input {
  readonly value: Value
  readonly type: { readonly dataType: NonNullable<TensorType['dataType']>; readonly dims: number[] }
  /** Known in advance: a weight, or sizes that the graph computes. */
  readonly constant: RuntimeTensor | undefined
}

export class OperatorTimes {
  private readonly cache: TimeCache

  constructor(
    private readonly options: RunOptions,
    folder?: string,
  ) {
    const { provider = 'cpu', threads } = options
    this.cache = TimeCache.open({ provider, threads }, folder)
  }

  /** Milliseconds of each node; 0 for what moves no data, or can't be run alone. */
  async measure(nodes: readonly Node[], shapes: ShapeInfo): Promise<number[]> {
    const times: number[] = []
    for (const [index, node] of nodes.entries()) {
      this.options.signal?.throwIfAborted()
      times.push(await this.time(node, shapes))
      this.options.log.progress('timing operators', index + 1, nodes.length)
    }
    this.cache.save()
    return times
  }

  private async time(node: Node, shapes: ShapeInfo): Promise<number> {
    if ((node.domain === '' && views.has(node.op)) || !innerGraphs(node).next().done) return 0
    const inputs = readInputs(node, shapes)
    if (!inputs) return 0
    const key = keyOf(node, inputs)
    const known = this.cache.get(key)
    if (known !== undefined) return known
    const found = await this.run(node, inputs)
    this.cache.set(key, found)
    return found
  }

  /** The least of several runs: whatever else runs meanwhile only adds. */
  private async run(node: Node, inputs: readonly (Input | undefined)[]): Promise<number> {
    const { provider = 'cpu', threads, signal } = this.options
    const fed = inputs.filter((each) => each !== undefined && !each.value.constant) as Input[]
    const cuts = new Map(fed.map(({ value, type }) => [value, type]))
    const outputs = node.outputs.filter((value) => value !== undefined)
    const file = materialise(extractSubgraph(node.graph, cuts, outputs))
    try {
      const settings = { path: file.path, provider, threads, signal, takesTurns: true }
      await using session = await openSession(settings)
      const feeds = Object.fromEntries(
        fed.map(({ value, type, constant }) => [value.name, constant ?? filled(type)]),
      )
      let least = Number.POSITIVE_INFINITY
      const began = performance.now()
      for (let run = 0; run < pace.most; run++) {
        if (run >= pace.least && performance.now() - began > pace.milliseconds) break
        await session.run(feeds)
        least = Math.min(least, session.lastRunMs)
      }
      return least
    } catch {
      signal?.throwIfAborted()
      return 0
    } finally {
      file.dispose()
    }
  }
}

/** undefined where some size is not known. */
function readInputs(node: Node, shapes: ShapeInfo): (Input | undefined)[] | undefined {
  const inputs: (Input | undefined)[] = []
  for (const value of node.inputs) {
    const dims = value && knownSizes(value, shapes)
    const dataType = value && shapes.dataType(value)
    if (!value) inputs.push(undefined)
    else if (!dims || !dataType) return undefined
    else {
      const known = value.constant ? undefined : shapes.constant(value)
      const type = { dataType, dims }
      inputs.push({ value, type, constant: known && fromConstant(known) })
    }
  }
  return inputs
}

/** Numbers of ordinary size: zeros would be quicker than any data. */
function filled({ dataType, dims }: Input['type']): RuntimeTensor {
  const tensor = zeros(dataType, dims)
  if (dataType === 'float32')
    for (let i = 0; i < elementCount(dims); i++) tensor.data[i] = ((i % 17) - 8) / 8
  return tensor
}

function keyOf(node: Node, inputs: readonly (Input | undefined)[]): string {
  const { op, domain, graph, attributes } = node
  const stated = [...attributes].sort(([a], [b]) => (a < b ? -1 : 1)).map(describeAttribute)
  const shapes = inputs.map((input) => {
    if (!input) return '-'
    const { value, type, constant } = input
    const kind = value.constant ? 'w' : constant ? `=${[...constant.data].slice(0, 8)}` : ''
    return `${type.dataType}[${type.dims}]${kind}`
  })
  const version = graph.model.opsets.get(domain) ?? 0
  return [`${domain}:${op}:${version}`, ...stated, ...shapes].join(' ')
}

function describeAttribute([name, attribute]: readonly [string, Attribute]): string {
  const value = 'value' in attribute ? attribute.value : ''
  const text = Array.isArray(value) ? value.map(String).join(',') : String(value)
  return `${name}=${text.slice(0, 60)}`
}
