/**
 * The next token drawn inside the graph: of many texts at once a host would have to read, and to exponentiate,
 * the scores of the whole vocabulary at every step.
 */
import { generator } from '../data/generator.js'
import { edit, type GraphEdit } from '../graph/edit.js'
import type { Attribute, Model, Value } from '../graph/graph.js'
import { addReduce } from '../graph/versioned-nodes.js'
import { dataTypeCode } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { int64Tensor } from '../onnx/tensor.js'
import type { Port } from '../runtime/session.js'
import type { LanguagePorts } from './language-ports.js'

/** int64 scalar input: the place along the sequence whose scores are meant; -1 is the last. */
export const PLACE = 'attnc.draw/place'
/** int64 [batch] output. */
export const DRAWN = 'attnc.draw/token'
/** float32 [batch] output, NaN where a score is. */
export const SUM = 'attnc.draw/sum'

/** float32 [1, vocabulary] output, where it is asked for: the scores of the first row. */
export const FIRST = 'attnc.draw/first'

/** int64 [batch, 1] input: where in the noise each row begins. */
export const NOISE_FROM = 'attnc.draw/noise-from'

/** float32 [batch, 1] input: what the scores of each row are multiplied by, 1 / temperature. */
export const SHARPNESS = 'attnc.draw/sharpness'

/** Numbers of noise: every row of every step reads as many as there are tokens, from a place of its own. */
export const noiseSize = 2 ** 20

/**
 * In place of its scores the model says one token for each row, drawn by their softmax at a
 * temperature, and the sum of the scores. The token of the largest score + noise is such a draw
 * where the noise has the Gumbel distribution (Maddison, Tarlow and Minka, "A* Sampling", 2014,
 * section 2). The noise is a constant: operators that draw numbers are not in every opset, and
 * differ between providers.
 */
export function drawInGraph(
  model: Model,
  { ids, logits }: LanguagePorts,
  seed: number,
  saysFirst = false,
): void {
  const scores = model.graph.values.get(logits.name) as Value
  const rows = typeof ids.dims[0] === 'number' ? ids.dims[0] : undefined
  edit(model.graph, 'attnc.draw', (change) => {
    const int = (value: number): Attribute => ({ kind: 'int', value: BigInt(value) })
    const vector = (value: number): Value => change.constant(int64Tensor([1], [value]))
    const place = change.addInput(PLACE, 'int64', [])
    const from = change.addInput(NOISE_FROM, 'int64', [rows, 1])
    const sharpness = change.addInput(SHARPNESS, 'float32', [rows, 1])
    const there = change.add('Gather', [scores, place], { attributes: { axis: int(1) } })
    const last = change.add('Cast', [there], { attributes: { to: int(dataTypeCode('float32')) } })
    const noise = addNoise(change, last, from, logits.dims[2], seed)
    const sharp = change.add('Mul', [last, sharpness])
    const token = change.add('ArgMax', [change.add('Add', [sharp, noise])], {
      attributes: { axis: int(-1), keepdims: int(0) },
      output: DRAWN,
    })
    const sums = addReduce(change, 'ReduceSum', last, [1], { keepDims: false })
    const sum = change.add('Identity', [sums], { output: SUM })
    change.setType(token, { dataType: 'int64', dims: [rows] })
    change.setType(sum, { dataType: 'float32', dims: [rows] })
    change.hide(scores)
    change.expose(token)
    change.expose(sum)
    if (!saysFirst) return
    const first = change.add('Slice', [last, vector(0), vector(1), vector(0)], { output: FIRST })
    change.setType(first, { dataType: 'float32', dims: [1, logits.dims[2]] })
    change.expose(first)
  })
}

/**
 * As many numbers for each row of `scores` [batch, vocabulary] as there are tokens, from its place
 * `from` on, round and round.
 */
function addNoise(
  change: GraphEdit,
  scores: Value,
  from: Value,
  vocabulary: Port['dims'][number] | undefined,
  seed: number,
): Value {
  const random = generator(seed)
  const noises = Float32Array.from({ length: noiseSize }, () => -Math.log(-Math.log(random())))
  const pool = (data: Float32Array): Value =>
    change.constant(toConstant({ dataType: 'float32', dims: [data.length], data }))
  const number = (value: number): Value =>
    change.constant(toConstant(tensorOf('int64', [], [value])))
  if (typeof vocabulary === 'number' && vocabulary <= noiseSize) {
    // Its beginning stands behind its end once more, so that no place has to be wrapped.
    const tokens = tensorOf(
      'int64',
      [vocabulary],
      Array.from({ length: vocabulary }, (_, token) => token),
    )
    const index = change.add('Add', [from, change.constant(toConstant(tokens))])
    const round = new Float32Array(noiseSize + vocabulary)
    round.set(noises)
    round.set(noises.subarray(0, vocabulary), noiseSize)
    return change.add('Gather', [pool(round), index])
  }
  const size = change.add('Gather', [change.add('Shape', [scores]), number(1)])
  const tokens = change.add('Range', [number(0), size, number(1)])
  const index = change.add('Mod', [change.add('Add', [from, tokens]), number(noiseSize)])
  return change.add('Gather', [pool(noises), index])
}
