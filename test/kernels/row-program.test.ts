import { describe, expect, it } from 'vitest'
import { rowProgram } from '../../kernels/row-program/index.js'
import { parse, print } from '../../kernels/row-program/program.js'
import { runBody, runReference } from './one-node.js'
import { rowCases, rowNode, shareOfTolerance } from './row-cases.js'

describe('the body of RowProgram', () => {
  it.each(rowCases)('equals the reference: $title', async (each) => {
    const node = rowNode(each)
    const [results, expected] = [await runBody(node), runReference(node)]
    const { writes } = parse(each.program)
    expect(results.filter(({ data }) => data.length > 0)).toHaveLength(writes.length)
    expect(results.map(({ dims }) => dims)).toEqual(
      expected.slice(0, results.length).map(({ dims }) => dims),
    )
    expect(shareOfTolerance(each, results, expected)).toBeLessThan(1)
  })
})

describe('the text of a row program', () => {
  it.each(rowCases)('says all of it: $title', ({ program }) => {
    expect(print(parse(program))).toBe(program)
  })

  const head = 'dims 2 4;read narrow 0 2 1 4 0'
  it.each([
    ['rows 2', /line 1 .* "dims" and sizes/],
    ['dims 0', /line 1 .* from 1 to/],
    [`${head};add 0 1`, /line 3 .* from 0 to 0 in place of "1"/],
    [`${head};write narrow 6 0`, /from 0 to 5/],
    [`${head};write index 0 0`, /from 0 to -1/],
    [`${head};number x`, /expected a number/],
    [`${head};constructor 0`, /an operation of the language/],
    [`${head};read narrow 1 2 1 3 0`, /1 or 4 columns/],
    [`${head};read narrow 1 2 1 4 4`, /from 0 to 3/],
    [`${head};column 0`, /0 words after "column"/],
  ])('is checked: %s', (program, message) => {
    expect(() => rowProgram.attributes({ program })).toThrow(message)
  })

  it('is held against the inputs', () => {
    const [first] = rowCases
    const node = rowNode(first as (typeof rowCases)[number])
    expect(() =>
      rowProgram.infer(node.inputs.slice(0, 1), { program: first?.program ?? '' }),
    ).toThrow(/"narrow_1" is missing/)
  })
})
