/** Pictures whose declared shape is open in every axis: channels are those of the convolution, sides are tried. */
import { expect, it } from 'vitest'
import { portsOf } from '../../src/data/open-data.js'
import { lengthsToTry, randomBatches } from '../../src/data/random.js'
import { findRandomLength } from '../../src/data/random-length.js'
import type { Model } from '../../src/graph/graph.js'
import { loadModel } from '../../src/model-folder/load.js'
import { materialise } from '../../src/runtime/materialise.js'
import { build } from '../axes/builder.js'

// C hidden; patches of 8 × 8, positions for pictures of 32 × 32
const [C, PATCH, SIDE] = [4, 8, 32]
const patches = (SIDE / PATCH) ** 2

/** Patches with positions, maybe beside tokens. */
const model = (hasTokens: boolean): Model =>
  build((b) => {
    const picture = b.input('picture', ['batch', 'channels', 'height', 'width'])
    const scaled = b.op('Sub', [picture, b.scalar(0.5)])
    const cut = b.op('Conv', [scaled, b.weight(C, 3, PATCH, PATCH)], { strides: [PATCH, PATCH] })
    const rows = b.transpose(b.reshape(cut, 0, C, -1), 0, 2, 1)
    if (hasTokens) b.expose(b.op('Gather', [b.weight(5, C), b.input('ids', ['b', 'n'], 'int64')]))
    return b.op('Add', [rows, b.weight(1, patches, C)])
  })

it.each([false, true])(
  'are drawn as large as the model takes, beside tokens: %s',
  async (hasTokens) => {
    const ports = portsOf(model(hasTokens))
    expect(ports[0]?.dims).toEqual(['batch', 3, 'height', 'width'])
    const file = materialise(model(hasTokens))
    try {
      expect(await findRandomLength(loadModel(file.path), undefined)).toBe(SIDE)
    } finally {
      file.dispose()
    }
    const size = { sequenceLength: SIDE, batchSize: 2, samples: 2, seed: 0 }
    const [batch] = randomBatches({ inputs: ports, ...size })
    expect(batch?.feeds['picture']?.dims).toEqual([2, 3, SIDE, SIDE])
    if (hasTokens) expect(batch?.feeds['ids']?.dims).toEqual([2, 16])
  },
)

it('more numbers than a machine holds are not drawn', () => {
  const pairs = {
    name: 'pairs',
    dataType: 'float32',
    dims: ['batch', 'n', 'n', 'features'],
  } as const
  expect(lengthsToTry([pairs], [16, 8192, 128], 2)).toEqual([16, 128])
  const tokens = { name: 'ids', dataType: 'int64', dims: ['batch', 'n'] } as const
  expect(lengthsToTry([tokens], [16, 8192], 2)).toEqual([16, 8192])
})
