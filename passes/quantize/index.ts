/** Quantisation of what the passes before left, as a pass: fewer bits, on data or without. */
import { AttncError } from '../../src/errors.js'
import type { ChosenPass, Pass, PassFlags } from '../../src/plan/pass.js'
import { parseProtect } from '../../src/plan/protect.js'
import { blockSizes } from '../../src/quantize/grid.js'
import { assertRaisable, needs } from '../../src/rewrite/raise-opset.js'
import { quantizeModel } from './decide.js'
import { type QuantizeOptions, quantizeDefaults } from './options.js'

/** Errors: BLOCK_SIZE, NO_DATA, OPSET_TOO_OLD; of its decision NOTHING_QUANTIZED and those of running. */
export function quantize(given: Partial<QuantizeOptions> = {}): ChosenPass {
  const options = { ...quantizeDefaults, ...given }
  if (!blockSizes.some((size) => size === options.block)) throw blockError(options)
  return {
    name: 'quantize',
    phase: 'quantize',
    check({ view, batches }) {
      const needsData = options.rounding === 'calibrated' || options.precision === 'qdq'
      if (needsData && !batches) throw noData(options)
      if (options.precision === 'qdq') assertRaisable(view.graph, needs.scales)
    },
    decide: (context) => quantizeModel(context, options),
  }
}

const blockError = ({ block }: QuantizeOptions): AttncError =>
  new AttncError(
    'BLOCK_SIZE',
    'usage',
    `Blocks of ${block} inputs can't share a scale; the kernels take ${blockSizes.join(', ')}.`,
    { suggestions: ['32 is usual, 128 is smaller and less exact.'] },
  )

const noData = ({ precision }: QuantizeOptions): AttncError =>
  new AttncError(
    'NO_DATA',
    'usage',
    precision === 'qdq'
      ? 'What products read is rounded by ranges seen on data, and no data were given.'
      : 'Rounding is to be calibrated, and no data were given.',
    {
      suggestions: [
        'Give some with --data.',
        precision === 'qdq'
          ? 'Without data: --precision int8.'
          : 'Round each number by itself with --rounding nearest.',
      ],
    },
  )

/** Values of its flags, where they were given. */
interface QuantizeFlags
  extends Partial<Pick<QuantizeOptions, 'precision' | 'tables' | 'rounding'>> {
  readonly 'block-size'?: string
  readonly symmetric?: boolean
  readonly 'accuracy-level'?: string
  readonly protect?: readonly string[]
}

export const quantizePass: Pass = {
  name: 'quantize',
  summary: 'keeps weights in 4 or 8 bits, rounded so that what they compute stays',
  flags: [
    'precision',
    'tables',
    'rounding',
    'block-size',
    'symmetric',
    'accuracy-level',
    'protect',
  ],
  read(flags: PassFlags, view) {
    const given = flags as QuantizeFlags
    const { precision, tables, rounding, 'block-size': block, 'accuracy-level': accuracy } = given
    return quantize({
      protect: parseProtect(given.protect ?? [], view),
      ...(precision && { precision }),
      ...(tables && { tables }),
      ...(rounding && { rounding }),
      ...(block !== undefined && { block: Number(block) }),
      ...(given.symmetric && { symmetric: true }),
      ...(accuracy !== undefined && { accuracy: Number(accuracy) as QuantizeOptions['accuracy'] }),
    })
  },
}
