/** What becomes of each weight: codes found on data or to be found when the plan is carried out, integers, halves. */
import { AttncError } from '../../src/errors.js'
import { assertFinite } from '../../src/model/finite-weights.js'
import type { TransformerModel } from '../../src/model/model.js'
import type { PassContext } from '../../src/plan/pass.js'
import type { IntegerProduct, PlanPart, QuantizedWeight } from '../../src/plan/plan.js'
import { hasFloatWork } from '../../src/quantize/half.js'
import { digestOfMatrix } from '../../src/quantize/places.js'
import { firstProducts } from '../../src/quantize/quantizable.js'
import { nearestCodes } from '../../src/quantize/rewrite.js'
import { breathe } from '../../src/runtime/breathe.js'
import { calibratedCodes } from './calibrated.js'
import { type ChosenWeights, chooseWeights } from './choose-weights.js'
import { measureRanges, type Range } from './input-ranges.js'
import type { QuantizeOptions } from './options.js'

/** Errors: NOTHING_QUANTIZED, WEIGHT_NOT_FINITE and those of running. */
export async function quantizeModel(
  context: PassContext,
  options: QuantizeOptions,
): Promise<PlanPart> {
  const { view, batches, log } = context
  if (options.precision === 'float16') {
    if (!hasFloatWork(view.graph)) throw nothingError(view, [])
    if (options.protect.length > 0)
      log.warn('PROTECT_UNUSED', 'Half precision is for the whole model: --protect keeps none out.')
    return { pass: 'quantize', options, slices: [], precision: 'float16' }
  }
  if (options.precision === 'qdq') return useIntegers(context, options)
  const { chosen, left } = chooseWeights(view, options)
  if (chosen.length === 0) throw nothingError(view, left)
  // Those of products were looked at before.
  for (const { weight } of chosen)
    for (const lookup of weight.lookups) assertFinite({ ...weight, reader: lookup })
  const isCalibrated = batches !== undefined && options.rounding !== 'nearest'
  const bits = [...new Set(chosen.map(({ grid }) => grid.bits))].sort().join(' and ')
  log.info(
    `${chosen.length} weights in ${bits} bits, ${isCalibrated ? 'rounded on what they read' : 'each number to the nearest'}; ${left.length} stay as they are.`,
  )
  const codes = isCalibrated
    ? await calibratedCodes(context, batches, chosen, options)
    : new Map<unknown, undefined>()
  const quantized: QuantizedWeight[] = []
  for (const { weight, grid } of chosen) {
    // Large weights take a second each: Ctrl-C is heard between them.
    await breathe(context.signal)
    const found = codes.get(weight.value)
    quantized.push({
      name: weight.value.name,
      digest: digestOfMatrix(weight),
      grid,
      accuracy: options.accuracy,
      ...(found ? { codes: found } : { nearest: nearestCodes(weight, grid) }),
    })
    log.progress('rounding weights', quantized.length, chosen.length)
  }
  const rounding = isCalibrated ? 'calibrated' : 'nearest'
  return { pass: 'quantize', options: { ...options, rounding, left }, slices: [], quantized }
}

/** Products of integers: tables stay, also where a head is tied to them. */
async function useIntegers(context: PassContext, options: QuantizeOptions): Promise<PlanPart> {
  const { view, model, batches = [], log } = context
  const { chosen, left } = chooseWeights(view, { ...options, tables: 'float' })
  const plain = chosen.filter(
    ({ weight }) => weight.tensor.dataType === 'float32' && firstProducts(weight).length > 0,
  )
  if (plain.length === 0) throw nothingError(view, left)
  const inputs = plain.flatMap(({ weight }) => firstProducts(weight).map(({ input }) => input))
  log.info(`Measuring what ${plain.length} weights read, on ${batches.length} batches.`)
  const ranges = await measureRanges(model, inputs, { ...context, batches })
  const integers = plain.map(({ weight }): IntegerProduct => {
    const own = firstProducts(weight).map(({ input }) => ranges.get(input) as Range)
    return {
      name: weight.value.name,
      digest: digestOfMatrix(weight),
      low: Math.min(...own.map(({ low }) => low)),
      high: Math.max(...own.map(({ high }) => high)),
    }
  })
  return { pass: 'quantize', options: { ...options, left }, slices: [], integers }
}

const integerOps = new Set([
  'MatMulNBits',
  'GatherBlockQuantized',
  'MatMulInteger',
  'QLinearMatMul',
  'DequantizeLinear',
  'QGemm',
  'DynamicQuantizeMatMul',
  'MatMulIntegerToFloat',
])

function nothingError({ graph }: TransformerModel, left: ChosenWeights['left']): AttncError {
  const own = [...graph.nodes()].find(({ op }) => integerOps.has(op))
  const reasons = [...new Set(left.map(({ name, reason }) => `"${name}": ${reason}.`))].slice(0, 3)
  return new AttncError(
    'NOTHING_QUANTIZED',
    'partial',
    own
      ? `No weight is left to quantise: the model keeps them in integers already ("${own.label}").`
      : 'No weight of this model can be quantised.',
    {
      suggestions: [
        ...reasons,
        own
          ? 'Start from the model as it was before.'
          : 'Run "attnc inspect --explain" to see what was read.',
      ],
    },
  )
}
