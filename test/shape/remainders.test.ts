/** Padding to a multiple, however a graph works it out, gives a multiple: chunks of it are counted exactly. */
import { describe, expect, it } from 'vitest'
import type { Value } from '../../src/graph/graph.js'
import { inferShapes } from '../../src/shape/infer.js'
import { Size } from '../../src/shape/symbolic.js'
import { type Builder, build } from '../axes/builder.js'

const s = Size.of('s')
const CHUNK = Size.of(8)
const padding = CHUNK.sub(s.mod(CHUNK)).mod(CHUNK)
const padded = s.add(padding)

describe('a size', () => {
  it('padded to a multiple of a chunk has no remainder', () => {
    expect(padded.mod(CHUNK).value).toBe(0)
    expect(padded.divideExact(CHUNK)).toBeDefined()
    expect(padded.mul(Size.of(32)).floorDiv(Size.of(256)).mul(CHUNK).equals(padded)).toBe(true)
  })

  it('is at least itself when padded, and more than its remainder', () => {
    expect(Size.min(padded, s).equals(s)).toBe(true)
    expect(Size.max(s, padded).equals(padded)).toBe(true)
    expect(Size.min(s.mod(CHUNK), s).equals(s.mod(CHUNK))).toBe(false)
  })

  it('has the remainder of numbers', () => {
    for (const [a, b] of [
      [7, 3],
      [-7, 3],
      [6, 3],
    ] as const)
      expect(Size.of(a).mod(Size.of(b)).value).toBe(((a % b) + b) % b)
    expect(s.mul(CHUNK).add(Size.of(3)).mod(CHUNK).value).toBe(3)
  })
})

it('a graph that pads, works in chunks and cuts back has its own length again', () => {
  const size = (b: Builder, value: Value, axis: number): Value =>
    b.op('Slice', [b.op('Shape', [value]), b.integers(axis), b.integers(axis + 1)])
  const model = build((b) => {
    const x = b.input('x', ['batch', 's', 4])
    const length = size(b, x, 1)
    const over = b.op('Mod', [length, b.integers(8)])
    const missing = b.op('Mod', [b.op('Sub', [b.integers(8), over]), b.integers(8)])
    const pads = b.op('Concat', [b.integers(0, 0, 0, 0), missing, b.integers(0)], { axis: 0 })
    const whole = b.op('Pad', [x, pads])
    const chunks = b.op('Relu', [b.reshape(whole, 0, -1, 8, 4)])
    const flat = b.reshape(chunks, 0, -1, 4)
    return b.op('Slice', [flat, b.integers(0), length, b.integers(1)])
  })
  const [output] = model.graph.outputs
  const dims = inferShapes(model.graph).dims(output as Value)
  expect(dims?.map(String)).toEqual(['batch', 's', '4'])
})
