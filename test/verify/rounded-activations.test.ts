/** A cache beside activations that are rounded by the range of all that runs together: allowed what that changes. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { edit, type GraphEdit } from '../../src/graph/edit.js'
import { silentLog } from '../../src/log.js'
import { loadFrom } from '../../src/model-folder/load.js'
import { openModelFolder } from '../../src/model-folder/model-folder.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { tensorOf, toConstant } from '../../src/onnx/numbers.js'
import { verify } from '../../src/verify/verify.js'
import { sharedModel } from '../shared-models.js'

const stories = sharedModel('tiny-stories')
const file = 'model_with_past.onnx'

describe.skipIf(!stories)(
  'a model whose products read activations of 8 bits, by a scale of each run',
  () => {
    const root = mkdtempSync(join(tmpdir(), 'attnc-rounded-'))
    afterAll(() => rmSync(root, { recursive: true, force: true }))

    async function generates(name: string, change: (graph: GraphEdit) => void) {
      const location = openModelFolder(stories as string)
      const { model } = loadFrom(location, file)
      edit(model.graph, 'test', (graph) => {
        roundProducts(graph)
        change(graph)
      })
      const to = join(root, name)
      await saveModelFolder({ models: { [file]: model }, from: location, to })
      const list = await verify({ path: join(to, file), single: true, log: silentLog, threads: 1 })
      return list.report().checks.find(({ check }) => check === 'generates')
    }

    test('passes: another text beside the first changes its scores as much', async () => {
      const check = await generates('right', () => {})
      expect(check).toMatchObject({
        result: 'passed',
        detail: expect.stringContaining('what runs together changes its scores by'),
      })
    })

    test('fails where states that are handed on are not those that were computed', async () => {
      const check = await generates('wrong', scaleStates)
      expect(check).toMatchObject({
        result: 'failed',
        detail: expect.stringContaining('With its cache the scores after'),
      })
    })
  },
)

/** What products with weights read goes through 8 bits, of a scale that each run finds for itself. */
function roundProducts(graph: GraphEdit): void {
  for (const node of [...graph.graph.nodes()]) {
    const [read, weight] = node.inputs
    if (node.op !== 'MatMul' || !read || !weight?.constant) continue
    const rounded = graph.addNode({
      op: 'DynamicQuantizeLinear',
      inputs: [read],
      outputs: ['rounded', 'scale', 'zero'],
      before: node,
    })
    graph.setInput(node, 0, graph.add('DequantizeLinear', rounded.outputs, { before: node }))
  }
}

/** Each state is handed on half as large again, and again by each step. */
function scaleStates(graph: GraphEdit): void {
  const factor = graph.constant(toConstant(tensorOf('float32', [], [1.5])))
  for (const state of graph.graph.outputs.slice(1)) {
    const { producer } = state
    if (!producer) continue
    const at = producer.outputs.indexOf(state)
    graph.insertAfter(producer, at, { op: 'Mul', between: 'unscaled', inputs: [factor] })
  }
}
