/**
 * Sums over the edges that end in a node, as a scatter by an index makes them, and what exporters put between:
 * other shapes of the same rows, a little against division by zero.
 */
import { intAttribute, type Node, stringAttribute, type Use, type Value } from '../graph/graph.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import type { ShapeInfo } from '../shape/infer.js'
import { IndexSources } from './index-source.js'

/** Operators that hand on rows as they are. */
const rows = new Set('Reshape Squeeze Unsqueeze Flatten Expand Identity Cast'.split(/\s+/))

/** Whether an operator tells a size and nothing of the members. */
export const isMeasure = ({ op }: Node): boolean => op === 'Shape' || op === 'Size'

/** Whether a node adds up rows that an index sends to one place. */
export const isSumByIndex = (node: Node): boolean =>
  node.domain === '' &&
  (node.op === 'ScatterND' ||
    (node.op === 'ScatterElements' && intAttribute(node, 'axis', 0) === 0)) &&
  stringAttribute(node, 'reduction') === 'add'

function isZero({ constant, producer }: Value): boolean {
  const stated = producer?.op === 'ConstantOfShape' ? producer.attributes.get('value') : undefined
  const tensor = constant ?? (stated?.kind === 'tensor' ? stated.value : undefined)
  if (!tensor) return producer?.op === 'ConstantOfShape' && stated === undefined
  const numbers = fromConstant(tensor)
  return numbers !== undefined && numbersOf(numbers).every((each) => each === 0)
}

export class EdgeSums {
  private readonly sources = new IndexSources()

  constructor(private readonly shapes: Pick<ShapeInfo, 'dims'>) {}

  /** Whether two indices pick the same rows. */
  isSame(one: Value, other: Value): boolean {
    return this.sources.isSame(one, other)
  }

  /** Whether a node hands on the rows of its first input; a Slice does where it leaves nothing out. */
  handsOn(node: Node): boolean {
    if (node.domain !== '') return false
    return rows.has(node.op) || (node.op === 'Slice' && this.isWhole(node))
  }

  private isWhole({ inputs: [data, starts, ends], outputs: [output] }: Node): boolean {
    const before = data && this.shapes.dims(data)
    const after = output && this.shapes.dims(output)
    if (before?.every((size, axis) => after?.[axis]?.equals(size))) return true
    // As long as an index has rows, which are those of the edges.
    const first = starts?.constant && fromConstant(starts.constant)
    const isFromStart = first !== undefined && numbersOf(first).every((each) => each === 0)
    return isFromStart && ends?.producer?.op === 'Shape'
  }

  /** A value before it was given another shape. */
  behind(value: Value | undefined): Value | undefined {
    let at = value
    while (at?.producer && this.handsOn(at.producer)) at = at.producer.inputs[0]
    return at
  }

  /** Reads of a value and of the same rows in another shape. */
  reads(value: Value): Use[] {
    return [...value.uses].flatMap((use) => {
      const [output] = use.node.outputs
      const isSame = use.index === 0 && output && !output.isGraphOutput && this.handsOn(use.node)
      return isSame ? this.reads(output) : isMeasure(use.node) ? [] : [use]
    })
  }

  /** Whether a node adds rows to zeros, each at the place that an index sends it to. */
  isSum(node: Node): boolean {
    const start = this.behind(node.inputs[0])
    return isSumByIndex(node) && start !== undefined && isZero(start)
  }

  /** Whether a value holds, for every edge, the sum of `part` over the edges of its target. */
  isSumOf(value: Value | undefined, part: Value, targets: Value): boolean {
    const read = this.behind(value)?.producer
    if (read?.op !== 'Gather' || intAttribute(read, 'axis', 0) !== 0) return false
    const [summed, index] = read.inputs
    return index !== undefined && this.isSame(index, targets) && this.isTotal(summed, part, targets)
  }

  /** Whether a value holds, for every target, the sum of `part` over its edges: and a little, against zero. */
  isTotal(value: Value | undefined, part: Value, targets: Value): boolean {
    const node = this.behind(value)?.producer
    if (!node) return false
    if (['Add', 'Max', 'Clip', 'Where'].includes(node.op)) {
      const open = node.inputs.filter((each) => each && !each.constant)
      const [only, other] = node.op === 'Where' ? open.slice(1) : open
      return other === undefined && this.isTotal(only, part, targets)
    }
    const [, index, updates] = node.inputs
    return (
      this.isSum(node) &&
      index !== undefined &&
      this.isSame(index, targets) &&
      this.behind(updates) === this.behind(part)
    )
  }
}
