/** The line that moves, on terminals that don't know how wide they are. */
import { describe, expect, it } from 'vitest'
import { knowWidth } from '../../src/cli/progress.js'

describe('the width of a terminal', () => {
  it.each([
    ['no columns is taken as 80', 0, 80],
    ['its own stays', 132, 132],
    ['none that is known stays open', undefined, undefined],
  ])('%s', (_, columns, expected) => {
    const stream = { columns }
    knowWidth(stream)
    expect(stream.columns).toBe(expected)
  })
})
