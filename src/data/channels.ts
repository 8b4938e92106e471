/** How many channels an input has where its declared shape leaves that open: as many as a convolution of it reads. */
import { isElementwise } from '../axes/rules/elementwise.js'
import { intAttribute, type Value } from '../graph/graph.js'
import { downstream } from '../model/trace.js'

/** The size of axis 1; undefined where no convolution reads the input as it is. */
export function findChannels(input: Value): number | undefined {
  for (const { node, index } of downstream(input, isElementwise)) {
    const dims = node.op === 'Conv' && index === 0 ? node.inputs[1]?.constant?.dims : undefined
    const [, channels] = dims ?? []
    if (channels !== undefined && dims?.length === input.type?.dims?.length)
      return channels * intAttribute(node, 'group', 1)
  }
  return undefined
}
