import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Graph, Model, Node } from '../../src/graph/graph.js'
import { NodeList } from '../../src/graph/node-list.js'

const graph = new Graph('g', new Model('g'))
const nodes = Array.from(
  { length: 12 },
  (_, id) => new Node(id + 1, graph, 'Identity', '', `${id}`),
)

/** What to do with which node, and next to which one. */
const step = fc.tuple(
  fc.constantFrom('append', 'insertBefore', 'insertAfter', 'delete'),
  fc.constantFrom(...nodes),
  fc.constantFrom(...nodes),
)

describe('a list of nodes', () => {
  it('keeps the order of an array, whatever comes and goes', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const list = new NodeList()
        const array: Node[] = []
        for (const [verb, node, other] of steps) {
          const at = array.indexOf(other)
          if (verb === 'delete') {
            list.delete(node.id)
            if (array.includes(node)) array.splice(array.indexOf(node), 1)
          } else if (!array.includes(node)) {
            if (verb === 'append') list.append(node)
            else list[verb](node, other)
            const isNext = verb !== 'append' && at >= 0
            array.splice(isNext ? at + Number(verb === 'insertAfter') : array.length, 0, node)
          }
          expect([...list.values()]).toEqual(array)
          expect(list.size).toBe(array.length)
        }
      }),
      { seed: 20261129 },
    )
  })

  it('is walked on from a node that goes, past others that go and to those that come behind', () => {
    const [a, b, c, d, e] = nodes as [Node, Node, Node, Node, Node]
    const list = new NodeList()
    for (const each of [a, b, c, d]) list.append(each)
    const seen: Node[] = []
    for (const each of list.values()) {
      seen.push(each)
      if (each !== b) continue
      for (const { id } of [b, c]) list.delete(id)
      list.insertAfter(e, d)
    }
    expect(seen).toEqual([a, b, d, e])
  })
})
