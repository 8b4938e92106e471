/** Nodes and edges as inputs: which of them number rows of others, by chance and from arrays. */
import { describe, expect, it } from 'vitest'
import { portsOf } from '../../src/data/open-data.js'
import { areTokens, randomBatches } from '../../src/data/random.js'
import { sliceArrays } from '../../src/data/slice-arrays.js'
import { edit } from '../../src/graph/edit.js'
import type { Model, Value } from '../../src/graph/graph.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { chooseObjective, targetsOf, WEIGHTS } from '../../src/train/loss/objective.js'
import { type Builder, build } from '../axes/builder.js'
import { additive, C, F, flat, graphModel, H, randomGraph } from '../axes/edge-models.js'
import { runModel } from '../zoo/compare.js'

const perNode = (): Model =>
  graphModel((b, graph) => b.linear(flat(b, additive(b, graph, C, {})), H * 4, 2))

/** Sums of nodes by the graph that they belong to: [3, C]. */
function perGraph(rows: number | string): Model {
  const model = build((b: Builder): Value => {
    const x = b.input('x', [rows, C])
    const owner = b.input('owner', [rows], 'int64')
    const zeros = b.op('ConstantOfShape', [b.integers(3, C)])
    return b.op('ScatterND', [zeros, b.op('Unsqueeze', [owner, b.integers(-1)]), x], {
      reduction: 'add',
    })
  })
  edit(model.graph, 'answer', (change) => {
    const [output] = model.graph.outputs
    if (output) change.setType(output, { dataType: 'float32', dims: [undefined, C] })
  })
  return model
}

describe('inputs that are a graph', () => {
  it('say whose rows they number', () => {
    expect(portsOf(perNode()).map(({ name, rows }) => [name, rows])).toEqual([
      ['x', undefined],
      ['edges', 'nodes'],
      ['features', undefined],
    ])
    expect(portsOf(perGraph('nodes')).map(({ rows }) => rows)).toEqual([undefined, 3])
    const tokens = build((b) =>
      b.op('Gather', [b.weight(9, 4), b.input('ids', ['b', 's'], 'int64')]),
    )
    expect(portsOf(tokens).map(({ rows }) => rows)).toEqual([undefined])
  })

  it('are drawn so that every edge has ends, and as many as its features', async () => {
    const model = perNode()
    const inputs = portsOf(model)
    expect(areTokens(inputs)).toBe(false)
    const common = { inputs, sequenceLength: 20, batchSize: 8, seed: 3 }
    const batches = randomBatches({ ...common, samples: 3 })
    expect(batches.map(({ feeds }) => Object.values(feeds).map(({ dims }) => dims))).toEqual(
      Array.from({ length: 3 }, () => [
        [5, C],
        [2, 20],
        [20, F],
      ]),
    )
    const ends = batches.flatMap(({ feeds }) => Array.from(feeds['edges']?.data ?? [], Number))
    expect([Math.min(...ends), Math.max(...ends)]).toEqual([0, 4])
    const results = await runModel(
      model,
      batches.map(({ feeds }) => feeds),
    )
    expect(results.map((each) => Object.values(each)[0]?.dims)).toEqual([
      [5, 2],
      [5, 2],
      [5, 2],
    ])
  })

  it('stay whole as arrays, with what lies beside them', () => {
    const arrays = { ...randomGraph(20, 30, 1), labels: tensorOf('int64', [20], Array(20).fill(1)) }
    const batches = sliceArrays(arrays, portsOf(perNode()), { what: 'graph', batchSize: 8 })
    expect(
      batches.map(({ feeds, extras, ids, tokenMask }) => [
        ...Object.values(feeds).map(({ dims }) => dims),
        ...Object.values(extras ?? {}).map(({ dims }) => dims),
        ids,
        tokenMask,
      ]),
    ).toEqual([[[20, C], [2, 30], [30, F], [20], [], undefined]])
  })

  it.each([
    ['ends that are no nodes', [0, 1, 5, 2], 'ROW_UNKNOWN', 'names row 5, and there are 5, from 0'],
    ['ends too far from the end', [0, -6, 1, 2], 'ROW_UNKNOWN', 'names row -6'],
    ['no edges', [], 'DATA_EMPTY', '"edges" of "graph" is empty'],
  ])('are refused with %s', (_, ends, code, text) => {
    const count = ends.length / 2
    const arrays = {
      x: tensorOf('float32', [5, C], new Float32Array(5 * C)),
      edges: tensorOf('int64', [2, count], ends),
      features: tensorOf('float32', [count, F], new Float32Array(count * F)),
    }
    expect(() => sliceArrays(arrays, portsOf(perNode()), { what: 'graph', batchSize: 8 })).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(text) }),
    )
  })

  it('have as many answers as there are nodes, or graphs', () => {
    const [batch] = sliceArrays(randomGraph(20, 30, 1), portsOf(perNode()), {
      what: 'graph',
      batchSize: 8,
    })
    const owner = tensorOf(
      'int64',
      [20],
      Array.from({ length: 20 }, (_, node) => node % 3),
    )
    const several = { feeds: { ...batch?.feeds, owner }, tokenMask: undefined, ids: [] }
    const counted = [perNode(), perGraph('nodes')].map((model) => {
      const objective = chooseObjective(model, [several], true)
      return targetsOf(objective, several)[WEIGHTS]?.dims
    })
    expect(counted).toEqual([[20], [3]])
  })
})
