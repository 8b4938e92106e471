/**
 * Two models of embeddings compared: cosine between what they say of the same row, and how many of
 * a row's nearest others they agree on. An output [batch, sequence, D] is averaged over real tokens
 * inside the session; [batch, D] is taken as it is.
 */
import type { Batch } from '../data/batch.js'
import { AttncError } from '../errors.js'
import { edit, type GraphEdit } from '../graph/edit.js'
import { extractSubgraph } from '../graph/extract.js'
import type { Model, Value } from '../graph/graph.js'
import { addReduce, addUnsqueeze } from '../graph/versioned-nodes.js'
import { type RunOptions, runBatches, TOKEN_MASK, tokenMaskOf } from '../runtime/batches.js'
import { inferShapes } from '../shape/infer.js'
import type { Size } from '../shape/symbolic.js'
import { refuseNaN } from './refuse-nan.js'

export interface Embeddings {
  readonly rows: number
  readonly size: number
  /** [rows, size], each of length 1. */
  readonly numbers: Float32Array
}

/** Errors: NO_EMBEDDING. */
export async function embed(
  model: Model,
  batches: readonly Batch[],
  options: RunOptions,
): Promise<Embeddings> {
  const output = findEmbedding(model)
  const copy = extractSubgraph(model.graph, new Map(), [output])
  const own = copy.graph.values.get(output.name) as Value
  const name =
    output.type?.dims?.length === 3
      ? edit(copy.graph, 'attnc.embed', (change) =>
          meanOverTokens(change, own, hasTokens(model, output, batches)),
        )
      : own.name
  const parts: Float32Array[] = []
  let size = 0
  await runBatches(copy, batches, options, 'embedding', (results) => {
    const { data, dims } = results[name] ?? { data: new Float32Array(), dims: [] }
    size = dims.at(-1) ?? 0
    const rows = parts.reduce((sum, part) => sum + part.length, 0) / Math.max(size, 1)
    parts.push(Float32Array.from(refuseNaN(output.name, data as Float32Array, rows)))
  })
  const numbers = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    numbers.set(part, at)
    at += part.length
  }
  const rows = size > 0 ? numbers.length / size : 0
  for (let row = 0; row < rows; row++) normalise(numbers.subarray(row * size, (row + 1) * size))
  return { rows, size, numbers }
}

/** The output that says something of a row as a whole. Error: NO_EMBEDDING. */
export function findEmbedding(model: Model): Value {
  const output = model.graph.outputs.find((each) => {
    const { dataType, dims } = each.type ?? {}
    return dataType?.startsWith('float') && (dims?.length === 3 || dims?.length === 2)
  })
  if (output) return output
  throw new AttncError(
    'NO_EMBEDDING',
    'usage',
    'Embeddings are compared on an output [batch, D] or [batch, sequence, D]; the model has none.',
  )
}

/** Whether rows of the output are the tokens that masks tell from padding; of images and features there are none. */
function hasTokens({ graph }: Model, output: Value, batches: readonly Batch[]): boolean {
  if (!batches.every((batch) => tokenMaskOf(batch))) return false
  const shapes = inferShapes(graph)
  const lengthOf = (value: Value): Size | undefined => shapes.dims(value)?.[1]
  const rows = lengthOf(output)
  const lengths = graph.inputs
    .filter(({ type }) => type?.dataType?.startsWith('int') && type.dims?.length === 2)
    .map(lengthOf)
  const [masked] = lengths
  if (!rows || !masked) return true
  // Of several texts the first has a mask. Symbols may differ and mean the same size; numbers don't.
  if (lengths.some((each) => each?.equals(rows))) return masked.equals(rows)
  return rows.value === undefined || masked.value === undefined
}

function meanOverTokens(change: GraphEdit, output: Value, isMasked: boolean): string {
  const toFloat = { attributes: { to: { kind: 'int', value: 1n } } } as const
  const numbers = change.add('Cast', [output], toFloat)
  // Rows get the length 1 later, so a sum says what a mean does.
  const mean = isMasked
    ? meanOfReal(change, numbers)
    : addReduce(change, 'ReduceSum', numbers, [1], { keepDims: false })
  for (const each of [...change.graph.outputs]) change.hide(each)
  change.expose(mean)
  return mean.name
}

function meanOfReal(change: GraphEdit, numbers: Value): Value {
  const mask = change.addInput(TOKEN_MASK, 'float32', ['batch', 'sequence'])
  const column = addUnsqueeze(change, mask, [-1])
  const masked = change.add('Mul', [numbers, column])
  const sum = addReduce(change, 'ReduceSum', masked, [1], { keepDims: false })
  const count = addReduce(change, 'ReduceSum', column, [1], { keepDims: false })
  return change.add('Div', [sum, count])
}

function normalise(row: Float32Array): void {
  let sum = 0
  for (const each of row) sum += each * each
  const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0
  for (let i = 0; i < row.length; i++) row[i] = (row[i] as number) * scale
}

export interface Likeness {
  /** Of each row, the cosine between the two models. */
  readonly cosine: readonly number[]
  /** Of each row, the share of its `k` nearest others that both models have. */
  readonly overlap: readonly number[]
}

export function compareEmbeddings(one: Embeddings, other: Embeddings, k: number): Likeness {
  const rows = Array.from({ length: one.rows }, (_, row) => row)
  return {
    cosine: rows.map((row) => dot(one, row, other, row)),
    overlap: rows.map((row) => {
      const near = nearest(one, row, k)
      const shared = [...nearest(other, row, k)].filter((each) => near.has(each)).length
      return shared / Math.min(k, one.rows - 1)
    }),
  }
}

function dot(a: Embeddings, rowA: number, b: Embeddings, rowB: number): number {
  let sum = 0
  for (let i = 0; i < a.size; i++)
    sum += (a.numbers[rowA * a.size + i] as number) * (b.numbers[rowB * b.size + i] as number)
  return sum
}

function nearest(all: Embeddings, row: number, k: number): Set<number> {
  const found = Array.from({ length: all.rows }, (_, other) => ({
    other,
    likeness: other === row ? Number.NEGATIVE_INFINITY : dot(all, row, all, other),
  }))
  found.sort((a, b) => b.likeness - a.likeness || a.other - b.other)
  return new Set(found.slice(0, Math.min(k, all.rows - 1)).map(({ other }) => other))
}
