/** A transformer of one layer as a message: two heads of four, a feed-forward of sixteen. */
import type { ModelMessage, NodeMessage, TensorMessage } from '../../src/onnx/messages.js'
import { node, tensorMessage, valueInfo } from '../onnx/messages.js'

const hidden = 8
const heads = 2
const width = 16
const vocabulary = 11

export function attentionModel(): ModelMessage {
  const weights: TensorMessage[] = []
  let seed = 0
  const weight = (name: string, ...dims: number[]): string => {
    const count = dims.reduce((product, dim) => product * dim, 1)
    const values = Array.from({ length: count }, () => Math.sin(++seed))
    weights.push(tensorMessage(name, dims, values))
    return name
  }
  const shape = (name: string, ...values: number[]): string => {
    const raw_data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer)
    weights.push({ name, dims: [BigInt(values.length)], data_type: 7, raw_data })
    return name
  }
  const turned = (perm: bigint[]) => ({ attribute: [{ name: 'perm', type: 7, ints: perm }] })
  const head = (name: string, perm: bigint[]): NodeMessage[] => [
    node('MatMul', ['norm1', weight(`w${name}`, hidden, hidden)], [`${name}0`]),
    node('Add', [`${name}0`, weight(`b${name}`, hidden)], [`${name}1`]),
    node('Reshape', [`${name}1`, shape(`s${name}`, 0, 0, heads, hidden / heads)], [`${name}2`]),
    node('Transpose', [`${name}2`], [name], turned(perm)),
  ]
  const nodes = [
    node('Gather', [weight('embedding', vocabulary, hidden), 'ids'], ['stream0']),
    node('LayerNormalization', ['stream0', weight('g1', hidden), weight('c1', hidden)], ['norm1']),
    ...head('q', [0n, 2n, 1n, 3n]),
    ...head('k', [0n, 2n, 3n, 1n]),
    ...head('v', [0n, 2n, 1n, 3n]),
    node('MatMul', ['q', 'k'], ['products']),
    node('Mul', ['products', weight('scale', 1)], ['scores']),
    node('Softmax', ['scores'], ['probabilities'], {
      attribute: [{ name: 'axis', type: 2, i: -1n }],
    }),
    node('MatMul', ['probabilities', 'v'], ['context0']),
    node('Transpose', ['context0'], ['context1'], turned([0n, 2n, 1n, 3n])),
    node('Reshape', ['context1', shape('merged', 0, 0, hidden)], ['context']),
    node('MatMul', ['context', weight('wo', hidden, hidden)], ['attended']),
    node('Add', ['stream0', 'attended'], ['stream1']),
    node('LayerNormalization', ['stream1', weight('g2', hidden), weight('c2', hidden)], ['norm2']),
    node('MatMul', ['norm2', weight('up', hidden, width)], ['wide0']),
    node('Relu', ['wide0'], ['wide']),
    node('MatMul', ['wide', weight('down', width, hidden)], ['narrow']),
    node('Add', ['stream1', 'narrow'], ['stream2']),
    node('MatMul', ['stream2', weight('head', hidden, vocabulary)], ['logits']),
  ]
  const ids = valueInfo('ids', 'batch', 'sequence')
  const type = { tensor_type: { ...ids.type.tensor_type, elem_type: 7 } }
  return {
    ir_version: 10n,
    opset_import: [{ domain: '', version: 21n }],
    graph: {
      name: 'attention',
      node: nodes,
      initializer: weights,
      input: [{ name: 'ids', type }],
      output: [valueInfo('logits', 'batch', 'sequence', vocabulary)],
    },
  }
}
