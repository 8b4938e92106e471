/** Weights by role, and what training makes of each. */
import { describe, expect, it } from 'vitest'
import { edit } from '../../src/graph/edit.js'
import { Model, type Value } from '../../src/graph/graph.js'
import { loadModel } from '../../src/model-folder/load.js'
import { findTrainable, initialParameters } from '../../src/train/weights/trainable.js'
import type { WeightRole } from '../../src/train/weights/weight-role.js'
import { findWeights } from '../../src/train/weights/weights.js'
import { Builder } from '../axes/builder.js'
import { sharedModel } from '../shared-models.js'

const count = (roles: readonly WeightRole[]): Partial<Record<WeightRole, number>> => {
  const found: Partial<Record<WeightRole, number>> = {}
  for (const role of roles) found[role] = (found[role] ?? 0) + 1
  return found
}

describe('weights', () => {
  it.each([
    ['tiny-stories', { embeddings: 1, norms: 9, attention: 16, feedForward: 12 }],
    [
      'zoo/bert-ts',
      { embeddings: 3, norms: 5, biases: 19, attention: 8, feedForward: 4, others: 2 },
    ],
    [
      'zoo/bert-fused',
      { embeddings: 3, norms: 5, biases: 15, attention: 4, feedForward: 4, others: 2 },
    ],
    ['zoo/mixtral-dyn', { embeddings: 1, norms: 5, attention: 8, others: 7 }],
    ['zoo/vit-op23', { others: 2, biases: 21, norms: 5, attention: 8, feedForward: 4 }],
  ])('of %s have the roles they play', (name, roles) => {
    const path = sharedModel(name)
    if (!path) return
    const { graph } = loadModel(path).model
    expect(count(findWeights(graph).map(({ role }) => role))).toEqual(roles)
  })

  it('of a recurrence are others, its biases biases', () => {
    const model = new Model()
    model.opsets.set('', 17)
    edit(model.graph, 'test', (change) => {
      const b = new Builder(change)
      const x = change.addInput('x', 'float32', [5, 2, 4])
      const weights = [b.weight(1, 24, 4), b.weight(1, 24, 8), b.weight(1, 48)]
      const [y] = b.ops('GRU', [x, ...weights], 1, '', { hidden_size: 8 })
      change.expose(y as Value)
    })
    const roles = findWeights(model.graph).map(({ role }) => role)
    expect(roles).toEqual(['others', 'others', 'biases'])
  })

  it('are updated beside their product where it is plain, else inside, and norms are trained whole', () => {
    const path = sharedModel('zoo/bert-fused')
    if (!path) return
    const { graph } = loadModel(path).model
    const targets = ['attention', 'norms', 'embeddings'] as const
    const trainable = findTrainable(graph, { kind: 'lora', rank: 2, alpha: 4, targets })
    const forms = new Set(trainable.weights.map(({ role, form }) => `${role} ${form}`))
    expect([...forms].sort()).toEqual([
      'attention beside',
      'attention inside',
      'embeddings whole',
      'norms whole',
    ])
    expect(initialParameters(trainable, 1).length).toBe(trainable.size)
  })

  it('of roles that the model lacks are refused with those it has', () => {
    const path = sharedModel('tiny-stories')
    if (!path) return
    const { graph } = loadModel(path).model
    expect(() => findTrainable(graph, { kind: 'full', targets: ['biases'] })).toThrowError(
      /biases\); it has embeddings, norms, attention, feedForward/,
    )
  })
})
