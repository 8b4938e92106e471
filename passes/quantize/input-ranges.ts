/** The smallest and the largest number that each product reads, seen on data in one pass. */
import type { Batch } from '../../src/data/batch.js'
import { AttncError } from '../../src/errors.js'
import { edit } from '../../src/graph/edit.js'
import { extractSubgraph } from '../../src/graph/extract.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { addReduce } from '../../src/graph/versioned-nodes.js'
import { int64Tensor } from '../../src/onnx/tensor.js'
import { type RunOptions, runBatches } from '../../src/runtime/batches.js'

export interface Range {
  readonly low: number
  readonly high: number
}

/** Error: CALIBRATION_NOT_FINITE. */
export async function measureRanges(
  model: Model,
  inputs: readonly Value[],
  options: RunOptions & { readonly batches: readonly Batch[] },
): Promise<ReadonlyMap<Value, Range>> {
  const distinct = [...new Set(inputs)]
  const copy = extractSubgraph(model.graph, new Map(), distinct)
  const outputs = edit(copy.graph, 'attnc.ranges', (change) => {
    for (const output of [...copy.graph.outputs]) change.hide(output)
    return distinct.map((input) => {
      const own = copy.graph.values.get(input.name) as Value
      const flat = change.add('Reshape', [own, change.constant(int64Tensor([1], [-1]))])
      const high = addReduce(change, 'ReduceMax', flat, [0])
      const low = addReduce(change, 'ReduceMax', change.add('Neg', [flat]), [0])
      for (const each of [high, low]) change.expose(each)
      return { input, high: high.name, low: low.name }
    })
  })
  const ranges = new Map<Value, Range>(distinct.map((input) => [input, { low: 0, high: 0 }]))
  await runBatches(copy, options.batches, options, 'calibrating', (results) => {
    for (const { input, high, low } of outputs) {
      const known = ranges.get(input) as Range
      const number = (name: string): number => Number(results[name]?.data[0])
      const found = { low: -number(low), high: number(high) }
      if (!Number.isFinite(found.low) || !Number.isFinite(found.high))
        throw new AttncError(
          'CALIBRATION_NOT_FINITE',
          'numeric',
          `"${input.name}" is not finite for some of this data.`,
          { suggestions: ['Look for NaN or infinite numbers in the data and the weights.'] },
        )
      ranges.set(input, {
        low: Math.min(known.low, found.low),
        high: Math.max(known.high, found.high),
      })
    }
  })
  return ranges
}
