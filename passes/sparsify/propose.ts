/**
 * Patterns from calibration: how much of its attention each head pays to the first keys and to its last
 * ones, measured inside the session for several windows at once; only a few numbers a head leave it.
 */
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Value } from '../../src/graph/graph.js'
import { NodeBuilder } from '../../src/node-builder/node-builder.js'
import { numbersOf } from '../../src/onnx/numbers.js'
import type { PassContext } from '../../src/plan/pass.js'
import { runBatches } from '../../src/runtime/batches.js'
import { type Examined, openCopy } from '../../src/sparse/examine.js'
import { shapeWith } from '../../src/sparse/heads.js'

/** First keys that are seen beside every window. */
const SINKS = 64
const WINDOWS = [64, 128, 256, 512, 1024, 2048, 4096]

/** One pattern for each head of each block: the smallest window that keeps the share, or `dense`. */
export async function proposePatterns(
  context: PassContext,
  blocks: readonly Examined[],
  keepMass: number,
): Promise<Map<string, readonly string[]>> {
  const { model, view } = openCopy(context.model)
  const windows = useful(context)
  const outputs = new Map<string, Value>()
  edit(model.graph, 'attnc.mass', (change) => {
    const build = new NodeBuilder(change, view.analysis.shapes)
    for (const [index, block] of view.attention.entries()) {
      const key = `attention.${index}`
      const { probabilities, heads } = block
      if (!probabilities || !blocks.some((each) => each.key === key)) continue
      const isApart = view.analysis.axes(probabilities)?.length === 4
      const apart = isApart
        ? probabilities
        : build.op('Reshape', [probabilities, shapeWith(build, probabilities, [-1, heads])])
      outputs.set(key, massOf(build, apart, windows))
    }
    for (const value of outputs.values()) change.expose(value)
  })
  const part = extractSubgraph(model.graph, new Map(), [...outputs.values()])
  const sums = new Map<string, Float64Array>()
  await runBatches(part, context.batches ?? [], context, 'measuring attention', (results) => {
    for (const [key, { name }] of outputs) {
      const tensor = results[name]
      if (!tensor) continue
      const numbers = numbersOf(tensor)
      const sum = sums.get(key) ?? new Float64Array(numbers.length)
      for (const [at, number] of numbers.entries()) sum[at] = (sum[at] ?? 0) + number
      sums.set(key, sum)
    }
  })
  return new Map(
    blocks.map(({ key, heads }) => [key, choose(sums.get(key), heads, windows, keepMass)]),
  )
}

/** Windows shorter than the longest sample: longer ones keep all of it. */
function useful({ batches = [] }: PassContext): number[] {
  const longest = Math.max(
    ...batches.flatMap(({ feeds }) => Object.values(feeds).map(({ dims }) => dims[1] ?? 0)),
  )
  return WINDOWS.filter((window) => window + SINKS < longest)
}

/** [windows + 1, heads]: attention within sinks and each window, and all of it. */
function massOf(build: NodeBuilder, probabilities: Value, windows: readonly number[]): Value {
  const number = (value: number): Value => build.number(value, 'int64')
  const sizes = [2, 3].map((axis) =>
    build.op('Reshape', [build.sizeAlong(probabilities, axis), build.ints()]),
  )
  const [queries, keys] = sizes as [Value, Value]
  const range = (size: Value): Value => build.op('Range', [number(0), size, number(1)])
  const rows = build.op('Unsqueeze', [
    build.op('Add', [range(queries), build.op('Sub', [keys, queries])]),
    build.ints(1),
  ])
  const columns = build.op('Unsqueeze', [range(keys), build.ints(0)])
  const distance = build.op('Abs', [build.op('Sub', [rows, columns])])
  const isSink = build.op('Less', [columns, number(SINKS)])
  const perHead = (value: Value): Value => build.reduce('ReduceSum', value, [0, 2, 3], 0)
  const within = windows.map((window) => {
    const near = build.op('Or', [build.op('Less', [distance, number(window)]), isSink])
    const mask = build.op('Cast', [near], { to: 1 })
    return perHead(build.op('Mul', [build.cast(probabilities, 'float32'), mask]))
  })
  const all = [...within, perHead(build.cast(probabilities, 'float32'))]
  return build.op(
    'Concat',
    all.map((each) => build.op('Unsqueeze', [each, build.ints(0)])),
    { axis: 0 },
  )
}

function choose(
  sums: Float64Array | undefined,
  heads: number,
  windows: readonly number[],
  keepMass: number,
): string[] {
  const at = (row: number, head: number): number => sums?.[row * heads + head] ?? 0
  return Array.from({ length: heads }, (_, head) => {
    const all = at(windows.length, head)
    const place = windows.findIndex((_window, row) => all > 0 && at(row, head) >= keepMass * all)
    return place < 0 ? 'dense' : `window:${windows[place]}+sinks:${SINKS}`
  })
}
