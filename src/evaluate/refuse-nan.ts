/** What a model says is measured only where it is a number: NaN is neither the best score nor a wrong one. */
import { AttncError } from '../errors.js'

/** The same numbers. Error: NOT_A_NUMBER, after how many rows or tokens. */
export function refuseNaN<Numbers extends ArrayLike<number>>(
  output: string,
  numbers: Numbers,
  after: number,
  unit: 'rows' | 'tokens' = 'rows',
): Numbers {
  for (let i = 0; i < numbers.length; i++)
    if (Number.isNaN(numbers[i]))
      throw new AttncError(
        'NOT_A_NUMBER',
        'numeric',
        `Output "${output}" is NaN ${after === 0 ? `in the first ${unit}` : `after ${after} ${unit}`} of the data, so nothing can be measured.`,
        { suggestions: ['"attnc verify" says whether it is on other inputs too.'] },
      )
  return numbers
}
