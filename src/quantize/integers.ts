/**
 * Products of 8-bit integers as QuantizeLinear and DequantizeLinear say them (QDQ): inputs in 8 bits by a range
 * that was measured, weights by a scale for each output. Runtimes fuse the three into one integer product. The
 * surprise: weights use 7 of their 8 bits, since x86 processors without VNNI saturate sums of pairs.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Branch, Node, Value } from '../graph/graph.js'
import { transpose } from '../linear-algebra/products.js'
import { float32Tensor, tensorFromBytes } from '../onnx/tensor.js'
import type { IntegerProduct } from '../plan/plan.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { needs, raiseOpset } from '../rewrite/raise-opset.js'
import { inferShapes } from '../shape/infer.js'
import { stepOf } from './grid.js'
import { Places } from './places.js'
import { findQuantizable, type QuantizableWeight, readMatrix } from './quantizable.js'

/** Largest code of a weight: two products of it with 255 fit 16 bits. */
const LARGEST = 63

/** As a mask, weights are dequantised numbers, and inputs rounded as in the other. Error: OPSET_TOO_OLD. */
export function useIntegers(
  change: GraphEdit,
  entries: readonly IntegerProduct[],
  as: 'slice' | 'mask',
): void {
  const { graph } = change
  raiseOpset(change, needs.scales)
  const places = new Places(findQuantizable(graph, inferShapes(graph)).weights)
  const rounded = new Map<Value, Value>()
  for (const entry of entries)
    for (const weight of places.take(entry)) {
      const write = as === 'mask' ? floatWeight(change, weight) : integerWeight(change, weight)
      // Branches of an If have one each: runtimes fuse what stands in the same graph.
      const inBranch = new Map<Branch | undefined, Value>()
      for (const { node, input, bias } of weight.products) {
        const before = node.inputs[1]
        const numbers = inBranch.get(node.branch) ?? write(node)
        inBranch.set(node.branch, numbers)
        const read = rounded.get(input) ?? roundInput(change, input, entry, node)
        rounded.set(input, read)
        if (bias) {
          const product = change.add('MatMul', [read, numbers], { before: node })
          change.replaceNode(node, { op: 'Add', inputs: [product, bias] })
        } else change.replaceNode(node, { op: 'MatMul', inputs: [read, numbers] })
        if (before?.producer && before.producer !== numbers.producer)
          eraseUnread(change, before.producer)
      }
      if (!weight.value.producer) change.eraseConstant(weight.value)
    }
}

/** DequantizeLinear(QuantizeLinear(x)), before the first reader. */
function roundInput(
  change: GraphEdit,
  input: Value,
  { low, high }: IntegerProduct,
  before: Node,
): Value {
  const { scale, zero } = stepOf(low, high, { bits: 8, symmetric: false }, 'float32')
  const name = (part: string): string => `${input.name}/${part}`
  const step = change.constant(float32Tensor([], [scale]), name('scale'))
  const point = change.constant(tensorFromBytes('uint8', [], Uint8Array.of(zero)), name('zero'))
  const codes = change.add('QuantizeLinear', [input, step, point], {
    output: name('quantized'),
    before,
  })
  const output = name('rounded')
  return change.add('DequantizeLinear', [codes, step, point], { output, before })
}

interface Columns {
  /** [inputs, outputs] */
  readonly codes: Int8Array
  readonly scales: Float32Array
}

function codesOf(weight: QuantizableWeight): Columns {
  const { outputs, inputs } = weight
  const numbers = readMatrix(weight)
  const scales = Float32Array.from({ length: outputs }, (_, output) => {
    const row = numbers.subarray(output * inputs, (output + 1) * inputs)
    const largest = row.reduce((top, each) => Math.max(top, Math.abs(each)), 0)
    return largest === 0 ? 1 : Math.max(largest / LARGEST, 2 ** -126)
  })
  const turned = transpose({ rows: outputs, columns: inputs, numbers }).numbers
  const codes = Int8Array.from(turned, (each, i) =>
    Math.max(-LARGEST, Math.min(LARGEST, Math.round(each / (scales[i % outputs] as number)))),
  )
  return { codes, scales }
}

/** Each call writes the numbers before a product. */
type WriteWeight = (before: Node) => Value

function integerWeight(change: GraphEdit, weight: QuantizableWeight): WriteWeight {
  const { value, inputs, outputs } = weight
  const { codes, scales } = codesOf(weight)
  const bytes = new Uint8Array(codes.buffer)
  const packed = change.constant(
    tensorFromBytes('int8', [inputs, outputs], bytes),
    `${value.name}/8bit`,
  )
  const steps = change.constant(float32Tensor([outputs], scales), `${value.name}/scales`)
  const points = tensorFromBytes('int8', [outputs], new Uint8Array(outputs))
  const zeros = change.constant(points, `${value.name}/zeros`)
  return (before) =>
    change.add('DequantizeLinear', [packed, steps, zeros], {
      attributes: { axis: { kind: 'int', value: 1n } },
      output: `${value.name}/rounded`,
      before,
    })
}

function floatWeight(change: GraphEdit, weight: QuantizableWeight): WriteWeight {
  const { value, inputs, outputs } = weight
  const { codes, scales } = codesOf(weight)
  const numbers = Float32Array.from(codes, (code, i) => code * (scales[i % outputs] as number))
  const constant = change.constant(
    float32Tensor([inputs, outputs], numbers),
    `${value.name}/rounded`,
  )
  // Computed, as the other is: products with constants add up in another order, and codes would flip.
  return (before) => change.add('Identity', [constant], { before })
}
