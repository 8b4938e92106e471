/**
 * Noise that every token and channel of every site draws anew, without sending it into the session: a
 * table of normal numbers is a constant of the graph, and a step says from where each site reads it.
 * So runs repeat, and go on, whatever the provider is.
 */
import { generator } from '../../src/data/generator.js'
import type { Value } from '../../src/graph/graph.js'
import type { NodeBuilder } from '../../src/node-builder/node-builder.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { float32Tensor } from '../../src/onnx/tensor.js'

const TABLE = 1 << 20

/** Input [sites]: places in the table. */
export const PLACES = 'attnc.noise'

export function addNoiseTable({ edit }: NodeBuilder, seed: number): Value {
  const random = generator(seed)
  const numbers = new Float32Array(TABLE)
  // Box and Muller 1958
  for (let i = 0; i < TABLE; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()))
    const angle = 2 * Math.PI * random()
    numbers[i] = radius * Math.cos(angle)
    numbers[i + 1] = radius * Math.sin(angle)
  }
  return edit.constant(float32Tensor([TABLE], numbers), 'attnc.normal')
}

/** Standard normal numbers shaped like `like`. */
export function drawNoise(
  b: NodeBuilder,
  { table, places, site }: { readonly table: Value; readonly places: Value; readonly site: number },
  like: Value,
): Value {
  const zero = b.ints(0)
  const from = b.op('Slice', [places, b.ints(site), b.ints(site + 1), zero])
  const shape = b.op('Shape', [like])
  const to = b.op('Add', [from, b.op('ReduceProd', [shape], { keepdims: 1 })])
  const times = b.op('Add', [b.op('Div', [to, b.ints(TABLE)]), b.ints(1)])
  const drawn = b.op('Slice', [b.op('Tile', [table, times]), from, to, zero])
  return b.op('Reshape', [drawn, shape])
}

/** Where each site reads in update number `update`. */
export function placesOf(sites: number, update: number, seed: number): RuntimeTensor {
  const random = generator(seed + 1 + update * 7919)
  const data = BigInt64Array.from({ length: sites }, () => BigInt(Math.floor(random() * TABLE)))
  return { dataType: 'int64', dims: [sites], data }
}
