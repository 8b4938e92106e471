/**
 * Losses as pieces of a graph: from outputs and targets to one number, the mean over what counts. All
 * are taken in single precision, whatever the model computes in.
 */
import type { Value } from '../../graph/graph.js'
import type { NodeBuilder } from '../../node-builder/node-builder.js'

/** Σ values·weights / Σ weights; the plain mean without weights. */
function weightedMean(b: NodeBuilder, values: Value, weights: Value | undefined): Value {
  const flat = { keepdims: 0 }
  if (!weights) return b.op('ReduceMean', [values], flat)
  const total = b.op('ReduceSum', [b.op('Mul', [values, weights])], flat)
  return b.op('Div', [total, sumOfWeights(b, weights)])
}

/** Never zero: a batch in which nothing counts has no loss, and no gradient. */
export function sumOfWeights(b: NodeBuilder, weights: Value): Value {
  const count = b.op('ReduceSum', [weights], { keepdims: 0 })
  return b.op('Max', [count, b.number(1e-9, 'float32')])
}

/** −log softmax at the targets. Logits [..., classes], targets int64 [...], weights [...]. */
export function crossEntropy(
  b: NodeBuilder,
  logits: Value,
  targets: Value,
  weights?: Value,
): Value {
  const likelihoods = logSoftmax(b, single(b, logits))
  const last = b.ints(-1)
  const places = b.op('Unsqueeze', [targets, last])
  const chosen = b.op('GatherElements', [likelihoods, places], { axis: -1 })
  return weightedMean(b, b.op('Neg', [b.op('Squeeze', [chosen, last])]), weights)
}

/** softplus(x) − x·target, which is −log σ(x) at 1 and −log(1 − σ(x)) at 0. Shapes alike. */
export function binaryCrossEntropy(
  b: NodeBuilder,
  scores: Value,
  targets: Value,
  weights?: Value,
): Value {
  const x = single(b, scores)
  const losses = b.op('Sub', [b.op('Softplus', [x]), b.op('Mul', [x, targets])])
  return weightedMean(b, losses, weights)
}

/** Mean over the last axis of the squared difference: hidden states [..., width]. */
export function meanSquaredError(
  b: NodeBuilder,
  found: Value,
  wanted: Value,
  weights?: Value,
): Value {
  const difference = b.op('Sub', [single(b, found), single(b, wanted)])
  const squares = b.reduce('ReduceMean', b.op('Mul', [difference, difference]), [-1], 0)
  return weightedMean(b, squares, weights)
}

/** T²·KL(teacher ‖ student) of logits at temperature T (Hinton et al. 2015), [..., classes]. */
export function distillation(
  b: NodeBuilder,
  student: Value,
  teacher: Value,
  temperature: number,
  weights?: Value,
): Value {
  const likelihoods = (logits: Value): Value => {
    const own = single(b, logits)
    const cooled = temperature === 1 ? own : b.op('Div', [own, b.number(temperature, 'float32')])
    return logSoftmax(b, cooled)
  }
  const [own, wanted] = [likelihoods(student), likelihoods(teacher)]
  const terms = b.op('Mul', [b.op('Exp', [wanted]), b.op('Sub', [wanted, own])])
  const divergence = b.op('ReduceSum', [terms, b.ints(-1)], { keepdims: 0 })
  const scaled = b.op('Mul', [divergence, b.number(temperature ** 2, 'float32')])
  return weightedMean(b, scaled, weights)
}

/** 1 − cosine along the last axis. */
export function cosineDistance(
  b: NodeBuilder,
  found: Value,
  wanted: Value,
  weights?: Value,
): Value {
  const [x, y] = [single(b, found), single(b, wanted)]
  const dot = (left: Value, right: Value): Value =>
    b.op('ReduceSum', [b.op('Mul', [left, right]), b.ints(-1)], { keepdims: 0 })
  const lengths = b.op('Sqrt', [b.op('Mul', [dot(x, x), dot(y, y)])])
  const cosine = b.op('Div', [dot(x, y), b.op('Add', [lengths, b.number(1e-12, 'float32')])])
  return weightedMean(b, b.op('Sub', [b.number(1, 'float32'), cosine]), weights)
}

/** Along the last axis; two losses of the same logits share it. */
function logSoftmax(b: NodeBuilder, logits: Value): Value {
  const known = [...logits.uses].find(
    ({ node }) => node.op === 'LogSoftmax' && node.origin === b.edit.label,
  )
  return known?.node.outputs[0] ?? b.op('LogSoftmax', [logits], { axis: -1 })
}

/** In single precision, whatever the model computes in. */
export const single = (b: NodeBuilder, value: Value): Value =>
  b.typeOf(value) === 'float32' ? value : b.cast(value, 'float32')
