import { describe, expect, it } from 'vitest'
import { openProducts, transpose } from '../../src/linear-algebra/products.js'
import { letGo } from '../../src/runtime/let-go.js'
import { findAddon } from '../../src/runtime/native/library.js'

const isThere = findAddon()?.detach !== undefined
if (!isThere) process.stdout.write("skipped: attnc's addon is not built, or is of before\n")

describe.runIf(isThere)('memory that is let go', () => {
  it('is gone at once, of what ONNX Runtime gave and of what JavaScript made', async () => {
    const [rows, columns] = [128, 128]
    const numbers = Float64Array.from({ length: rows * columns }, (_, at) => Math.sin(at))
    const a = { rows, columns, numbers }
    await using products = await openProducts({ threads: 1 })
    const square = await products.multiply(a, transpose(a))
    const kept = square.numbers[0]
    const before = process.memoryUsage().arrayBuffers
    letGo([{ data: square.numbers }, { data: numbers }])
    expect([square.numbers.length, numbers.length]).toEqual([0, 0])
    expect(before - process.memoryUsage().arrayBuffers).toBeGreaterThanOrEqual(8 * rows * columns)
    // The session goes on.
    const other = { rows, columns, numbers: new Float64Array(rows * columns).fill(1) }
    expect((await products.multiply(other, other)).numbers[0]).toBe(columns)
    expect(kept).toBeGreaterThan(0)
  })

  it('may be of strings, and let go twice', () => {
    const data = new Float32Array(4)
    letGo([{ data: ['a'] as never }, { data }, { data }])
    expect(data.length).toBe(0)
  })
})
