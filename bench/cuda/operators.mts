/**
 * Writes models of one attnc operator and what they give by the reference, for operators.mjs:
 * `npx tsx bench/cuda/operators.mts FOLDER`. Plain files, so that the machine with the GPU needs only
 * Node, ONNX Runtime and attnc's two libraries.
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { denseLayout, windowLayout } from '../../kernels/block-sparse-attention/patterns.js'
import { dataTypeCode } from '../../src/onnx/data-type.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import {
  type AttentionCase,
  attentionCases,
  gatherNode,
  sparseNode,
  tolerance,
} from '../../test/kernels/cases.js'
import { oneNode, runReference } from '../../test/kernels/one-node.js'

const folder = process.argv[2]
if (!folder) throw new Error('a folder is missing')
mkdirSync(folder, { recursive: true })

const plain = ({ dataType, dims, data }: RuntimeTensor) => ({
  type: dataTypeCode(dataType),
  dims,
  kind: data.constructor.name,
  bytes: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'),
})

const sizes = (keys: number, queryBlock: number, keyBlock: number) => ({
  queries: keys,
  keys,
  queryBlock,
  keyBlock,
})
/** Sizes for which the kernels of Hopper and of single queries are made. */
const ofDevice = (['float16', 'bfloat16'] as const).flatMap((dataType): AttentionCase[] => [
  ...[64, 128].map((block) => ({
    title: `causal, blocks of ${block}, queries that begin within one, ${dataType}`,
    sizes: [1, 4, 2, 150, 333, 128, 128] as const,
    attributes: { causal: true, queryBlock: block, keyBlock: block },
    layout: denseLayout(sizes(333, block, block), true),
    dataType,
  })),
  {
    title: `window with sinks, heads of 64, soft cap, ${dataType}`,
    sizes: [1, 4, 1, 500, 500, 64, 64],
    attributes: { causal: true, window: 120, sinks: 8, softcap: 20 },
    layout: windowLayout(sizes(500, 64, 64), { window: 120, sinks: 8, causal: true }),
    keyLengths: [450],
    dataType,
  },
  {
    title: `one query, ${dataType}`,
    sizes: [2, 8, 2, 1, 1000, 128, 128],
    attributes: { causal: true },
    layout: denseLayout(sizes(1000, 64, 64), true),
    dataType,
  },
])

const written = []
for (const each of [...attentionCases, ...ofDevice])
  for (const [operator, node] of [
    ['BlockSparseAttention', { ...sparseNode(each), outputs: 2 }],
    ['GatherBlockAttention', { ...gatherNode(each), outputs: 2 }],
  ] as const) {
    const { model, feeds } = oneNode(node)
    const file = materialise(model)
    const name: string = `case-${written.length}.onnx`
    copyFileSync(file.path, join(folder, name))
    file.dispose()
    written.push({
      title: `${operator}: ${each.title}`,
      model: name,
      limit: (tolerance[each.dataType ?? 'float32'] as number) * (each.spread ?? 1),
      feeds: Object.entries(feeds).map(([input, tensor]) => [input, plain(tensor)]),
      expected: runReference(node).map(plain),
    })
  }
writeFileSync(join(folder, 'cases.json'), JSON.stringify(written))
process.stdout.write(`${written.length} models in ${folder}\n`)
