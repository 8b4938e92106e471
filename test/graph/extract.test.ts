/** Parts of a graph that run on their own. */
import { expect, it } from 'vitest'
import { extractSubgraph } from '../../src/graph/extract.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { build } from '../axes/builder.js'
import { runModel } from '../zoo/compare.js'

it('a node whose first result is fed keeps it, for the other ones', async () => {
  const model = build((b) => {
    const x = b.input('x', [2, 3, 4])
    const [normed, , , sum] = b.ops(
      'SkipLayerNormalization',
      [x, x, b.weight(4)],
      4,
      'com.microsoft',
    )
    return b.op('Add', [b.op('Relu', [normed ?? x]), sum ?? x])
  })
  const { graph } = model
  const normed = [...graph.nodes()].find(({ op }) => op === 'SkipLayerNormalization')?.outputs[0]
  const [output] = graph.outputs
  if (!normed || !output) throw new Error('the graph has other nodes')
  const type = { dataType: 'float32', dims: [2, 3, 4] } as const
  const part = extractSubgraph(graph, new Map([[normed, type]]), [output])
  const fed = (value: number) => tensorOf('float32', [2, 3, 4], Array<number>(24).fill(value))
  const [found] = await runModel(part, [{ x: fed(2), [normed.name]: fed(-1) }])
  expect([...(Object.values(found ?? {})[0]?.data ?? [])]).toEqual(Array(24).fill(4))
})
