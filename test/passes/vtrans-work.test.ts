/** The work of a prompt: counted from axes it is what a model that was cut is counted to have. */
import { describe, expect, it } from 'vitest'
import { findMasks } from '../../passes/vtrans/masks.js'
import { vtransDefaults } from '../../passes/vtrans/options.js'
import { costOf, fullCounts, parametersOf } from '../../passes/vtrans/resource.js'
import { workOf } from '../../passes/vtrans/work.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { applyPart } from '../../src/plan/apply.js'
import { sharedModel } from '../shared-models.js'

const tiny = 'examples/tiny-stories/model.onnx'
const sizes = new Map([
  ['batch_size', 2],
  ['sequence', 96],
])

describe('the work of a prompt', () => {
  it.each([
    [tiny, sizes],
    // Its patches are a convolution.
    ...(sharedModel('digits-vit') ? [[sharedModel('digits-vit') as string, new Map()]] : []),
  ] as [string, Map<string, number>][])('falls by what was foretold, %s', (path, open) => {
    const { graph } = loadModel(path).model
    const view = readModel(graph)
    const { masks } = findMasks(view, vtransDefaults)
    const work = workOf(view, masks, open)
    const counts = masks.map(({ size }) => size - 1)
    const slices = masks.map(({ dimension }) => ({ dimension: dimension.id, remove: [0] }))
    applyPart(graph, { slices })
    const cut = readModel(graph)
    const left = workOf(cut, findMasks(cut, vtransDefaults).masks, open)
    expect(left.total).toBeLessThan(work.total)
    expect(costOf(work, counts)).toBeCloseTo(left.total, 3)
  })

  it('is more for a head than for as many parameters of neurons, and the more so the longer it is', () => {
    const view = readModel(loadModel(tiny).model.graph)
    const { masks } = findMasks(view, vtransDefaults)
    const full = fullCounts(masks)
    const indexOf = (role: string) => masks.findIndex(({ dimension }) => dimension.role === role)
    const fewer = (role: string, by: number) => {
      const at = indexOf(role)
      return full.with(at, (full[at] as number) - by)
    }
    const parameters = parametersOf(view, masks)
    const [head, neurons] = [fewer('keyValueHeads', 1), fewer('width', 64)]
    expect(costOf(parameters, head)).toBe(costOf(parameters, neurons))
    const ratioAt = (sequence: number): number => {
      const work = workOf(view, masks, new Map([...sizes, ['sequence', sequence]]))
      return (work.total - costOf(work, head)) / (work.total - costOf(work, neurons))
    }
    expect(ratioAt(16)).toBeGreaterThan(1)
    expect(ratioAt(256)).toBeGreaterThan(ratioAt(16))
  })
})
