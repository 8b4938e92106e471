/**
 * Carries out the quantised weights of a part of a plan: products become MatMulNBits, or read 8-bit integers
 * between quantised activations; lookups become GatherBlockQuantized. As a mask, the weight stays where it
 * is and has the numbers that its codes stand for: the reference that the other is held against.
 */
import { createHash } from 'node:crypto'
import type { GraphEdit } from '../graph/edit.js'
import { asAttributes } from '../node-builder/node-builder.js'
import type { QuantizedWeight } from '../plan/plan.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { inferShapes } from '../shape/infer.js'
import { type Codes, dequantise, type Grid, roundToGrid } from './grid.js'
import { type Packed, packForLookup, packForProduct } from './pack.js'
import { Places } from './places.js'
import { asWeight, findQuantizable, type QuantizableWeight, readMatrix } from './quantizable.js'

const MICROSOFT = 'com.microsoft'

/** Errors: QUANTIZED_MISSING. */
export function quantizeWeights(
  change: GraphEdit,
  entries: readonly QuantizedWeight[],
  as: 'slice' | 'mask',
): void {
  const { graph } = change
  const known = new Map<string, Codes>()
  const places = new Places(findQuantizable(graph, inferShapes(graph)).weights)
  for (const entry of entries)
    for (const weight of places.take(entry)) {
      const codes = entry.codes ?? entry.nearest ?? nearestCodes(weight, entry.grid)
      if (as === 'mask')
        change.setConstant(weight.value, asWeight(weight, dequantise(codes, entry.grid)))
      else replaceReaders(change, weight, sameAs(known, codes), entry)
    }
  if (as === 'slice') graph.model.opsets.set(MICROSOFT, 1)
}

/** The first of equal codes: a head that is stored beside its embedding is written once. */
function sameAs(known: Map<string, Codes>, found: Codes): Codes {
  const hash = createHash('sha256')
  for (const each of [found.codes, found.scales, found.zeros])
    hash.update(new Uint8Array(each.buffer, each.byteOffset, each.byteLength))
  const key = `${found.outputs} ${hash.digest('hex')}`
  const first = known.get(key) ?? found
  known.set(key, first)
  return first
}

export const nearestCodes = (weight: QuantizableWeight, grid: Grid): Codes =>
  roundToGrid(readMatrix(weight), weight.outputs, grid, weight.tensor.dataType)

function replaceReaders(
  change: GraphEdit,
  weight: QuantizableWeight,
  codes: Codes,
  { grid, accuracy }: QuantizedWeight,
): void {
  const { value, tensor, products, lookups, outputs, inputs } = weight
  const name = (part: string): string => `${value.name}/${part}`
  const operands = ({ codes: packed, scales, zeros }: Packed) => ({
    packed: change.constant(packed, name(`${grid.bits}bit`)),
    scales: change.constant(scales, name('scales')),
    zeros: zeros && change.constant(zeros, name('zeros')),
  })
  const shape = { bits: grid.bits, block_size: grid.block }
  if (products.length > 0) {
    const own = operands(packForProduct(codes, grid, tensor.dataType))
    const attributes = asAttributes({
      ...shape,
      K: inputs,
      N: outputs,
      ...(accuracy > 0 && { accuracy_level: accuracy }),
    })
    for (const { node, input, bias } of products) {
      const read = [input, own.packed, own.scales, own.zeros]
      const spec = { op: 'MatMulNBits', domain: MICROSOFT, inputs: read, attributes }
      const before = node.inputs[1]
      if (bias) {
        const product = change.add(spec.op, read, {
          ...spec,
          before: node,
          output: name('product'),
        })
        change.replaceNode(node, { op: 'Add', inputs: [product, bias] })
      } else change.replaceNode(node, spec)
      if (before?.producer) eraseUnread(change, before.producer)
    }
  }
  if (lookups.length > 0) {
    const own = operands(packForLookup(codes, grid, tensor.dataType))
    const attributes = asAttributes({ ...shape, gather_axis: 0, quantize_axis: 1 })
    for (const node of lookups)
      change.replaceNode(node, {
        op: 'GatherBlockQuantized',
        domain: MICROSOFT,
        inputs: [own.packed, node.inputs[1], own.scales, own.zeros],
        attributes,
      })
  }
  if (value.producer) eraseUnread(change, value.producer)
  else change.eraseConstant(value)
}
