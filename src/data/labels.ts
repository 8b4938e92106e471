/** The array "labels" beside a model's inputs: one number a row, and where rows have classes, one of these. */
import { AttncError } from '../errors.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import type { Batch } from './batch.js'

export interface LabelNeeds {
  /** What needs them, as a sentence begins. */
  readonly what: string
  /** How many classes the model tells apart; undefined where labels are no classes. */
  readonly classes?: number | undefined
  /** What else would do. */
  readonly otherwise: string
}

/** The labels of all batches in a row. Errors: NO_LABELS, LABEL_RANGE. */
export function readLabels(batches: readonly Batch[], needs: LabelNeeds): number[] {
  return batches.flatMap((batch) => labelsOf(batch, needs))
}

function labelsOf({ feeds, extras = {} }: Batch, needs: LabelNeeds): number[] {
  const labels = extras['labels']
  if (!labels) {
    const others = Object.keys(extras).map((name) => `"${name}"`)
    const inputs = Object.keys(feeds).map((name) => `"${name}"`)
    const beside = others.length > 0 ? `${others.join(', ')} beside ` : 'nothing beside '
    throw noLabels(needs, `the data has ${beside}its inputs (${inputs.join(', ')})`)
  }
  const numbers = numbersOfLabels(labels)
  const [rows = 1] = labels.dims
  if (numbers.length !== rows)
    throw noLabels(needs, `it is [${labels.dims}], ${numbers.length / rows} numbers a row`)
  const { classes } = needs
  const wrong = numbers.findIndex((label) =>
    classes === undefined
      ? !Number.isFinite(label)
      : !Number.isInteger(label) || label < 0 || label >= classes,
  )
  if (wrong < 0) return numbers
  const expected =
    classes === undefined
      ? 'no number'
      : `none of the ${classes} classes of the model, which are 0 to ${classes - 1}`
  throw new AttncError(
    'LABEL_RANGE',
    'usage',
    `"labels" holds ${numbers[wrong]}, which is ${expected}.`,
    {
      suggestions: [
        'Number the classes as the model does, and leave out rows without a label, or give data made for this model.',
      ],
    },
  )
}

export const numbersOfLabels = (labels: RuntimeTensor): number[] =>
  Array.from(labels.data as ArrayLike<number | bigint>, Number)

export const noLabels = ({ what, otherwise }: LabelNeeds, found: string): AttncError =>
  new AttncError('NO_LABELS', 'usage', `${what} needs "labels", one number a row: ${found}.`, {
    suggestions: [`Add "labels" to the data, or ${otherwise}.`],
  })
