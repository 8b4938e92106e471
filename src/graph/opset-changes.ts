/** What the versions of ai.onnx have in common: most nodes mean the same in a later one. */
import type { Node } from './graph.js'

/** The last version that changed operators of every kind. */
export const OLDEST_ALIKE = 13

/** Whether a node of one version of ai.onnx is none of the other's, or says something else there. */
export function changes(node: Node, from: number, to: number): boolean {
  const isBetween = (version: number): boolean => from < version && version <= to
  const { op, inputs, outputs, attributes } = node
  if (op === 'BatchNormalization' && outputs.length > 1) return isBetween(14)
  if (op === 'RoiAlign') return isBetween(16)
  if (op.startsWith('Reduce') && attributes.has('axes')) return isBetween(18)
  if (op === 'Split' && !inputs[1]) return isBetween(18)
  if (op === 'DFT' || op === 'GridSample') return isBetween(20)
  return op === 'GroupNormalization' && isBetween(21)
}
