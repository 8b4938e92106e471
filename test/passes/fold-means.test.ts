/** Means of masks are taken into the projection that heads and a width share: each into its own rows. */
import { expect, it } from 'vitest'
import { foldMeans } from '../../passes/vtrans/fold.js'
import { findMasks } from '../../passes/vtrans/masks.js'
import { vtransDefaults } from '../../passes/vtrans/options.js'
import type { Value } from '../../src/graph/graph.js'
import { findBlocks } from '../../src/model/block.js'
import { readModel } from '../../src/model/model.js'
import { build } from '../axes/builder.js'

// C hidden, H heads, D head size, F neurons, S tokens
const [C, H, D, F, S] = [8, 2, 4, 6, 5]

it('heads and neurons beside each other before one product', () => {
  const model = build((b) => {
    const x = b.input('x', ['batch', S, C])
    const split = (): Value => b.transpose(b.reshape(b.linear(x, C, C), 0, S, H, D), 0, 2, 1, 3)
    const scores = b.op('MatMul', [split(), b.transpose(split(), 0, 1, 3, 2)])
    const context = b.op('MatMul', [b.op('Softmax', [scores], { axis: -1 }), split()])
    const said = b.reshape(b.transpose(context, 0, 2, 1, 3), 0, S, C)
    const both = b.op('Concat', [said, b.op('Relu', [b.linear(x, C, F)])], { axis: -1 })
    return b.op('Add', [x, b.linear(both, C + F, C)])
  })
  const view = readModel(model.graph)
  const { masks, size } = findMasks(view, vtransDefaults)
  const means = Float32Array.from({ length: size }, (_, at) => 1 + at / 10)
  const keeps = (role: string): readonly number[] =>
    role === 'keyValueHeads' ? [1] : [0, 2, 3, 4, 5]
  const selected = masks.map((mask) => ({ mask, kept: keeps(mask.dimension.role), order: [] }))
  const [found] = foldMeans(view, { means }, selected)
  // Rows of the second head, then of the neurons that stay.
  const rows = [4, 5, 6, 7, 8, 10, 11, 12, 13]
  expect([found?.rows, found?.columns]).toEqual([rows.length, C])
  const old = findBlocks(view)[0]?.projection?.read() ?? new Float64Array()
  const offsetOf = (role: string): number =>
    masks.find(({ dimension }) => dimension.role === role)?.offset ?? 0
  const wanted = rows.flatMap((row) => {
    const mean = row < C ? offsetOf('keyValueHeads') + 1 : offsetOf('width') + row - C
    return Array.from(
      old.subarray(row * C, (row + 1) * C),
      (each) => each * (means[mean] as number),
    )
  })
  for (const [at, number] of wanted.entries()) expect(found?.weight[at]).toBeCloseTo(number, 5)
})
