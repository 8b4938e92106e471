/** Edits at random: one that fails leaves no trace, one that succeeds leaves a lawful graph. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkModel } from '../../src/graph/check.js'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { exportModel } from '../../src/graph/export.js'
import type { Graph, Model, Node, Value } from '../../src/graph/graph.js'
import { importModel } from '../../src/graph/import.js'
import { nodesInside } from '../../src/graph/links.js'
import { printModel } from '../../src/graph/print.js'
import { decodeModel, encodeModel, toBytes } from '../../src/onnx/codec.js'
import { float32Tensor } from '../../src/onnx/tensor.js'
import { branchingModel } from './models.js'

/** Everything that an edit may change: contents, orders and links. */
function stateOf(model: Model): unknown {
  const links = (graph: Graph): unknown =>
    [...graph.values.values()].map((value) => [
      value.name,
      value.producer?.id,
      value.type,
      value.constant,
      [...value.uses].map(({ node, index }) => `${node.id}:${index}`).sort(),
    ])
  const inner = [...model.graph.nodes()].flatMap((node) => [...nodesInside(node)])
  return {
    text: printModel(model),
    links: links(model.graph),
    inner: [...new Set(inner.map((node) => node.graph))].map(links),
  }
}

/** One verb; the numbers choose among what there is. */
type Step = readonly [verb: number, first: number, second: number, third: number]

const pick = <Item>(items: Iterable<Item>, at: number): Item | undefined => {
  const all = [...items]
  return all[at % all.length]
}

function take(change: GraphEdit, [verb, first, second, third]: Step): void {
  const { graph } = change
  const value = pick(graph.values.values(), first)
  const other = pick(graph.values.values(), second)
  const node = pick(graph.nodes(), third)
  if (!value || !other || !node) return
  const verbs: (() => unknown)[] = [
    () => change.add('Add', [value, other], { before: third % 2 === 0 ? node : undefined }),
    () => change.addNode({ op: 'Split', inputs: [value], outputs: ['part', undefined, 'rest'] }),
    () => change.constant(float32Tensor([1], [first]), second % 2 === 0 ? 't' : undefined),
    () => change.addInput('more', 'float32', ['n', 2]),
    () => value.constant && change.setConstant(value, float32Tensor([2], [1, 2])),
    () => change.setType(value, { dataType: 'float32', dims: ['m', first] }),
    () => change.setAttribute(node, 'axis', { kind: 'int', value: BigInt(first) }),
    () => change.setAttribute(node, pick(node.attributes.keys(), first) ?? 'axis', undefined),
    () => change.setInput(node, second % 3, third % 5 === 0 ? undefined : value),
    () => change.replaceUses(value, other),
    () => change.expose(value),
    () => change.hide(value),
    () => change.eraseConstant(value),
    () => isUnread(node) && change.erase(node),
    () => holder(graph, first) && change.erase(holder(graph, first) as Node),
  ]
  verbs[verb % verbs.length]?.()
}

const isUnread = (node: Node): boolean =>
  node.outputs.every((output: Value | undefined) => !output?.uses.size && !output?.isGraphOutput)

/** A node that holds graphs, and is read by nobody. */
const holder = (graph: Graph, at: number): Node | undefined =>
  pick(
    [...graph.nodes()].filter((node) => isUnread(node) && [...nodesInside(node)].length > 0),
    at,
  )

const steps = fc.array(fc.tuple(fc.nat(14), fc.nat(40), fc.nat(40), fc.nat(40)), {
  minLength: 1,
  maxLength: 12,
})

describe('an edit', () => {
  test('that fails leaves contents, orders, links and the exported message as they were', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const message = decodeModel(toBytes(encodeModel(branchingModel())))
        const model = importModel(message)
        const before = stateOf(model)
        expect(() =>
          edit(model.graph, 'test', (change) => {
            for (const step of sequence) take(change, step)
            throw new RangeError('made to fail')
          }),
        ).toThrow(/made to fail|Cannot erase/)
        expect(stateOf(model)).toEqual(before)
        expect(exportModel(model)).toBe(message)
      }),
      { numRuns: 300, seed: 11 },
    )
  })

  test('either commits a lawful graph that comes back from its file, or leaves no trace', () => {
    let committed = 0
    let refused = 0
    fc.assert(
      fc.property(steps, (sequence) => {
        const model = importModel(branchingModel())
        const before = stateOf(model)
        try {
          edit(model.graph, 'test', (change) => {
            for (const step of sequence) take(change, step)
          })
        } catch {
          refused++
          expect(stateOf(model)).toEqual(before)
          return
        }
        committed++
        expect(checkModel(model).violations).toEqual([])
        const back = importModel(decodeModel(toBytes(encodeModel(exportModel(model)))))
        expect(printModel(back)).toBe(printModel(model))
      }),
      { numRuns: 300, seed: 12 },
    )
    expect(Math.min(committed, refused)).toBeGreaterThan(30)
  })

  test('gives new values names that no scope has', () => {
    const model = importModel(branchingModel())
    edit(model.graph, 'test', (change) => {
      const [x] = model.graph.inputs
      // "t" and "c" are values of inner graphs, "xw" of this one.
      const names = ['t', 'c', 'xw'].map((output) => change.add('Relu', [x], { output }).name)
      expect(names).toEqual(['t_1', 'c_1', 'xw_1'])
    })
  })

  test('frees what the graphs inside an erased node read', () => {
    const model = importModel(branchingModel())
    const { graph } = model
    const xw = graph.values.get('xw') as Value
    expect(xw.uses.size).toBe(2)
    edit(graph, 'test', (change) => {
      change.hide(graph.values.get('y') as Value)
      change.expose(xw)
      change.erase([...graph.nodes()].at(-1) as Node)
    })
    expect(xw.uses.size).toBe(0)
  })
})
