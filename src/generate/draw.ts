/**
 * The next token drawn inside the graph: of many texts at once a host would have to read, and to exponentiate,
 * the scores of the whole vocabulary at every step.
 */
import { generator } from '../data/generator.js'
import { edit } from '../graph/edit.js'
import type { Attribute, Model, Value } from '../graph/graph.js'
import { addReduce } from '../graph/versioned-nodes.js'
import { dataTypeCode } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import type { LanguagePorts } from './language-ports.js'

/** int64 scalar input: the place along the sequence whose scores are meant; -1 is the last. */
export const PLACE = 'attnc.draw/place'
/** int64 [batch] output. */
export const DRAWN = 'attnc.draw/token'
/** float32 [batch] output, NaN where a score is. */
export const SUM = 'attnc.draw/sum'

/** int64 [batch, 1] input: where in the noise each row begins. */
export const NOISE_FROM = 'attnc.draw/noise-from'

/** float32 [batch, 1] input: what the scores of each row are multiplied by, 1 / temperature. */
export const SHARPNESS = 'attnc.draw/sharpness'

/** Numbers of noise: every row of every step reads as many as there are tokens, from a place of its own. */
export const noiseSize = 2 ** 20

/**
 * In place of its scores the model says one token for each row, drawn by their softmax at a temperature, and the sum of the scores.
 * The token of the largest score + noise is such a draw where the noise has the Gumbel distribution (Maddison, Tarlow and
 * Minka, "A* Sampling", 2014, section 2). The noise is a constant: operators that draw numbers are not in
 * every opset, and differ between providers.
 */
export function drawInGraph(model: Model, { logits }: LanguagePorts, seed: number): void {
  const scores = model.graph.values.get(logits.name) as Value
  const random = generator(seed)
  const noises = Float32Array.from({ length: noiseSize }, () => -Math.log(-Math.log(random())))
  edit(model.graph, 'attnc.draw', (change) => {
    const int = (value: number): Attribute => ({ kind: 'int', value: BigInt(value) })
    const number = (value: number): Value =>
      change.constant(toConstant(tensorOf('int64', [], [value])))
    const place = change.addInput(PLACE, 'int64', [])
    const from = change.addInput(NOISE_FROM, 'int64', [undefined, 1])
    const sharpness = change.addInput(SHARPNESS, 'float32', [undefined, 1])
    const there = change.add('Gather', [scores, place], { attributes: { axis: int(1) } })
    const last = change.add('Cast', [there], { attributes: { to: int(dataTypeCode('float32')) } })
    const shape = change.add('Shape', [last])
    const vocabulary = change.add('Gather', [shape, number(1)])
    const tokens = change.add('Range', [number(0), vocabulary, number(1)])
    const index = change.add('Mod', [change.add('Add', [from, tokens]), number(noiseSize)])
    const pool = change.constant(
      toConstant({ dataType: 'float32', dims: [noiseSize], data: noises }),
    )
    const noise = change.add('Gather', [pool, index])
    const sharp = change.add('Mul', [last, sharpness])
    const token = change.add('ArgMax', [change.add('Add', [sharp, noise])], {
      attributes: { axis: int(-1), keepdims: int(0) },
      output: DRAWN,
    })
    const sums = addReduce(change, 'ReduceSum', last, [1], { keepDims: false })
    const sum = change.add('Identity', [sums], { output: SUM })
    change.setType(token, { dataType: 'int64', dims: [undefined] })
    change.setType(sum, { dataType: 'float32', dims: [undefined] })
    change.hide(scores)
    change.expose(token)
    change.expose(sum)
  })
}
