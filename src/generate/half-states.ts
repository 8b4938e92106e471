/**
 * A language model that keeps its cache in half precision, and does most of its work in it: a GPU reads the caches
 * of many texts from its memory at every token, and half of the bytes are half of the time.
 */
import { edit, type GraphEdit } from '../graph/edit.js'
import { intAttribute, type Model, type Node, type Value } from '../graph/graph.js'
import { dataTypeCode } from '../onnx/data-type.js'
import { toHalfPrecision } from '../quantize/half.js'
import { eraseUnread } from '../rewrite/erase-unread.js'
import { fuseNorms } from '../rewrite/fuse-norms.js'
import { inferShapes } from '../shape/infer.js'
import type { LanguagePorts } from './language-ports.js'

/** Changes the model; its ports afterwards. What it says is rounded as any model in half precision. */
export function halveStates(model: Model, ports: LanguagePorts): LanguagePorts {
  const { graph } = model
  const carry: Record<string, string> = { ...ports.carry }
  const halved = new Set<string>()
  edit(graph, 'attnc.half', (change) => {
    // Halved, they would be put together by nobody.
    fuseNorms(change, inferShapes(graph))
    toHalfPrecision(change, 'slice')
    for (const [output, input] of Object.entries(ports.carry)) {
      const from = graph.values.get(output)
      const to = graph.values.get(input)
      const made = from?.producer?.op === 'Cast' ? from.producer.inputs[0] : undefined
      if (!from || !made || to?.type?.dataType !== 'float32') continue
      readInHalf(change, to)
      change.hide(from)
      eraseUnread(change, from.producer as Node)
      change.setType(made, { dataType: 'float16', dims: from.type?.dims })
      change.expose(made)
      delete carry[output]
      carry[made.name] = input
      halved.add(input)
    }
  })
  const states = ports.states.map((port) =>
    halved.has(port.name) ? { ...port, dataType: 'float16' as const } : port,
  )
  return { ...ports, states, carry }
}

/** The input is half from now on: who has cast it reads it as it is, others cast it back. */
function readInHalf(change: GraphEdit, input: Value): void {
  const isCast = (node: Node): boolean =>
    node.op === 'Cast' && intAttribute(node, 'to', 0) === dataTypeCode('float16')
  const readers = [...input.uses]
  change.setType(input, { dataType: 'float16', dims: input.type?.dims })
  for (const { node } of readers.filter(({ node }) => isCast(node))) {
    const cast = node.outputs[0] as Value
    change.replaceUses(cast, input)
    change.erase(node)
  }
  const others = readers.filter(({ node }) => !isCast(node) && node.op !== 'Shape')
  if (others.length === 0) return
  const single = change.add('Cast', [input], {
    attributes: { to: { kind: 'int', value: BigInt(dataTypeCode('float32')) } },
    before: [...change.graph.nodes()][0],
  })
  for (const { node, index } of others) change.setInput(node, index, single)
}
