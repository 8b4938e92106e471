/**
 * What a graph needs while it runs, from the shapes of its values alone: the most bytes that live at once
 * when nodes run as ONNX Runtime orders them, and which operators made what lives then. Values that
 * only look at another's bytes cost nothing; results written over an operand, workspaces and the
 * gaps of the arena are not counted.
 */
import type { Graph, Node, Value } from '../../graph/graph.js'
import { bitsPerElement } from '../../onnx/data-type.js'
import { inferShapes, type ShapeInfo } from '../../shape/infer.js'
import { executionOrder } from './execution-order.js'

export interface StepMemory {
  /** Everything at the worst moment: what is computed, what is fed, constants. */
  readonly peakBytes: number
  readonly fedBytes: number
  readonly constantBytes: number
  /** The node that runs at that moment. */
  readonly peakNode: string
  /** What was computed before and lives then, by the operator that made it, the most first. */
  readonly atPeak: readonly HeldBytes[]
  /** What nodes up to `boundary` make and nodes behind it read, the same way. */
  readonly kept: readonly HeldBytes[]
  /** Results of unknown size, which count nothing. */
  readonly unknown: readonly string[]
}

export interface HeldBytes {
  readonly op: string
  readonly bytes: number
  readonly count: number
}

const views = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Identity'])

/** Results that are their first input's bytes; a Cast to the same type is taken out by ONNX Runtime. */
function isView({ op, inputs, outputs }: Node, shapes: ShapeInfo): boolean {
  if (op !== 'Cast') return views.has(op)
  const [[from], [to]] = [inputs, outputs]
  return from !== undefined && to !== undefined && shapes.dataType(from) === shapes.dataType(to)
}

/** The value whose bytes it is. */
export function ownerOf(value: Value, shapes: ShapeInfo): Value {
  let owner = value
  while (owner.producer?.inputs[0] && isView(owner.producer, shapes))
    owner = owner.producer.inputs[0]
  return owner
}

/** Bytes of a value's own, 0 for a view; undefined where its size is not known. */
export function bytesOf(
  value: Value,
  shapes: ShapeInfo,
  sizes: ReadonlyMap<string, number>,
): number | undefined {
  if (value.producer && isView(value.producer, shapes)) return 0
  const type = shapes.dataType(value)
  const count = shapes.dims(value)?.reduce((n, size) => n * (size.at(sizes) ?? Number.NaN), 1)
  if (type === undefined || count === undefined || Number.isNaN(count)) return undefined
  return Math.ceil((count * bitsPerElement(type)) / 8)
}

/** `sizes`: of the symbols in the shapes of the inputs. `boundary`: as the loss, where a step turns round. */
export function estimateMemory(
  graph: Graph,
  sizes: ReadonlyMap<string, number>,
  boundary?: Value,
): StepMemory {
  const shapes = inferShapes(graph, { overrides: sizes })
  const unknown: string[] = []
  const bytesIn = (value: Value): number => {
    const bytes = bytesOf(value, shapes, sizes)
    if (bytes === undefined) unknown.push(value.name)
    return bytes ?? 0
  }
  const order = executionOrder(graph)
  const buffers = findBuffers(order, shapes)
  const lives = livesOf(order, buffers)
  const bytes = new Map([...lives.keys()].map((value) => [value, bytesIn(value)]))
  const sum = (values: Iterable<Value>): number =>
    [...values].reduce((total, value) => total + bytesIn(value), 0)
  const fedBytes = sum(graph.inputs.filter(({ constant }) => !constant))
  const read = [...graph.initializers()].filter(({ uses }) => uses.size > 0)
  const constantBytes = sum(read)
  const peak = findPeak(order, lives, bytes)
  const isForward = nodesUpTo(graph, boundary)
  const isKept = (value: Value): boolean =>
    isForward.has(value.producer as Node) &&
    [...buffers].some(
      ([each, owner]) => owner === value && [...each.uses].some(({ node }) => !isForward.has(node)),
    )
  return {
    peakBytes: peak.bytes + fedBytes + constantBytes,
    fedBytes,
    constantBytes,
    peakNode: order[peak.at]?.label ?? '',
    atPeak: byOperator(lives, bytes, ({ from, to }) => from <= peak.at && peak.at <= to),
    kept: byOperator(lives, bytes, (_, value) => isKept(value)),
    unknown: [...new Set(unknown)],
  }
}

/** Nodes of the file up to the one that makes `boundary`; none without it. */
function nodesUpTo(graph: Graph, boundary: Value | undefined): ReadonlySet<Node> {
  const nodes = [...graph.nodes()]
  return new Set(nodes.slice(0, boundary?.producer ? nodes.indexOf(boundary.producer) + 1 : 0))
}

interface Life {
  readonly from: number
  readonly to: number
}

/** The value that owns each value's bytes; undefined where it is fed or constant. */
function findBuffers(order: readonly Node[], shapes: ShapeInfo): Map<Value, Value> {
  const buffers = new Map<Value, Value>()
  for (const node of order)
    for (const output of node.outputs) {
      if (!output) continue
      const [source] = node.inputs
      if (!source || !isView(node, shapes)) buffers.set(output, output)
      else if (buffers.has(source)) buffers.set(output, buffers.get(source) as Value)
    }
  return buffers
}

function livesOf(order: readonly Node[], buffers: ReadonlyMap<Value, Value>): Map<Value, Life> {
  const places = new Map(order.map((node, place) => [node, place]))
  const lives = new Map<Value, Life>()
  for (const [value, owner] of buffers) {
    const from = places.get(owner.producer as Node) ?? 0
    const reads = [...value.uses].map(({ node }) => places.get(node) ?? order.length)
    const last = value.isGraphOutput ? order.length : Math.max(from, ...reads)
    lives.set(owner, { from, to: Math.max(last, lives.get(owner)?.to ?? 0) })
  }
  return lives
}

function findPeak(
  order: readonly Node[],
  lives: ReadonlyMap<Value, Life>,
  bytes: ReadonlyMap<Value, number>,
): { readonly at: number; readonly bytes: number } {
  const changes = new Float64Array(order.length + 2)
  for (const [value, { from, to }] of lives) {
    const own = bytes.get(value) ?? 0
    changes[from] = (changes[from] as number) + own
    changes[to + 1] = (changes[to + 1] as number) - own
  }
  let now = 0
  let peak = { at: 0, bytes: 0 }
  for (const [at, change] of changes.entries()) {
    now += change
    if (now > peak.bytes) peak = { at, bytes: now }
  }
  return peak
}

function byOperator(
  lives: ReadonlyMap<Value, Life>,
  bytes: ReadonlyMap<Value, number>,
  isHeld: (life: Life, value: Value) => boolean,
): HeldBytes[] {
  const found = new Map<string, { bytes: number; count: number }>()
  for (const [value, life] of lives) {
    if (!isHeld(life, value)) continue
    const op = value.producer?.op ?? ''
    const known = found.get(op) ?? { bytes: 0, count: 0 }
    found.set(op, { bytes: known.bytes + (bytes.get(value) ?? 0), count: known.count + 1 })
  }
  return [...found]
    .map(([op, held]) => ({ op, ...held }))
    .filter((each) => each.bytes > 0)
    .sort((a, b) => b.bytes - a.bytes)
}
