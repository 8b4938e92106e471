/**
 * What is taken off scores before they are normed over the edges of a target, and cancels there:
 * exp(s − m)/Σ exp(s − m) is the same for every m that a target's edges share. Exporters make m of a maximum
 * over the edges and sometimes of a minimum over everything, heads included; neither ties heads together.
 */
import {
  type Graph,
  innerGraphs,
  intAttribute,
  type Node,
  type Use,
  type Value,
} from '../graph/graph.js'
import { type EdgeSums, isMeasure } from './edge-sums.js'

/** Nodes of which nothing remains but such an m. */
export function findShifts(graph: Graph, sums: EdgeSums): ReadonlySet<Node> {
  const found = new Set<Node>()
  const nodes = [...graph.nodes()]
  for (const node of nodes) {
    const reads = node.op === 'Exp' && node.domain === '' ? shiftRead(node, sums) : undefined
    if (reads) for (const each of reads) found.add(each)
  }
  if (found.size === 0) return found
  const holders = holdersOf(nodes)
  const holderOf = (node: Node): Node => {
    let at = node
    for (let up = holders.get(at.graph); up; up = holders.get(at.graph)) at = up
    return at
  }
  // Whatever is read by such nodes alone; sizes say nothing of the numbers.
  const isIdle = (value: Value): boolean =>
    !value.isGraphOutput &&
    [...value.uses].every(({ node }) => found.has(holderOf(node)) || isMeasure(node))
  for (const node of nodes.toReversed())
    if (!found.has(node) && node.outputs.some((each) => each && each.uses.size > 0))
      if (node.outputs.every((each) => !each || isIdle(each))) found.add(node)
  return found
}

/** The nodes that pick m for every edge, where exp(s − m) is read by its norm alone. */
function shiftRead(exp: Node, sums: EdgeSums): Node[] | undefined {
  const taken = exp.inputs[0]?.producer
  const [output] = exp.outputs
  if (taken?.op !== 'Sub' || !output || output.isGraphOutput || taken.outputs[0]?.uses.size !== 1)
    return undefined
  const picked: Node[] = []
  let at = taken.inputs[1]?.producer
  while (at && sums.handsOn(at) && isOnlyRead(at)) {
    picked.push(at)
    at = at.inputs[0]?.producer
  }
  const targets = at?.op === 'Gather' ? at.inputs[1] : undefined
  if (!at || !targets || intAttribute(at, 'axis', 0) !== 0 || !isOnlyRead(at)) return undefined
  const norm = new Norm(output, targets, sums)
  return norm.cancels() ? [...picked, at] : undefined
}

/** exp(s − m) of every edge, and what is made of it. */
class Norm {
  constructor(
    private readonly part: Value,
    private readonly targets: Value,
    private readonly sums: EdgeSums,
  ) {}

  /** Whether a factor that the edges of a target share is gone from all that is made of it. */
  cancels(): boolean {
    const reads = this.sums.reads(this.part)
    return (
      reads.some(({ node }) => node.op !== 'ScatterElements' && node.op !== 'ScatterND') &&
      reads.every((use) => this.isDivided(use) || this.isSummed(use) || this.isWeighed(use))
    )
  }

  /** Divided by its sum, edge by edge. */
  private isDivided({ node, index }: Use): boolean {
    const [, whole] = node.inputs
    return node.op === 'Div' && index === 0 && this.sums.isSumOf(whole, this.part, this.targets)
  }

  /** Added up, and the sum divides. */
  private isSummed(use: Use): boolean {
    const [sum] = use.node.outputs
    return this.isSum(use) && sum !== undefined && !sum.isGraphOutput && this.divides(sum)
  }

  /** Multiplied, added up, and divided by the sum, node by node. */
  private isWeighed({ node }: Use): boolean {
    const [product] = node.outputs
    if (node.op !== 'Mul' || !product || product.isGraphOutput) return false
    return this.sums.reads(product).every((use) => {
      const [sum] = use.node.outputs
      if (!this.isSum(use) || !sum || sum.isGraphOutput) return false
      return this.sums
        .reads(sum)
        .every(
          ({ node: division, index }) =>
            division.op === 'Div' &&
            index === 0 &&
            this.sums.isTotal(division.inputs[1], this.part, this.targets),
        )
    })
  }

  private isSum({ node, index }: Use): boolean {
    const ends = node.inputs[1]
    return (
      this.sums.isSum(node) &&
      index === 2 &&
      ends !== undefined &&
      this.sums.isSame(ends, this.targets)
    )
  }

  private divides(total: Value): boolean {
    return this.sums.reads(total).every(({ node, index }) => {
      const [output] = node.outputs
      if (!output || output.isGraphOutput) return false
      if (node.op === 'Div') return index === 1 && this.isShare(node.inputs[0])
      const isPicked =
        node.op === 'Gather' &&
        index === 0 &&
        intAttribute(node, 'axis', 0) === 0 &&
        this.sums.isSame(node.inputs[1] as Value, this.targets)
      const isTotalStill = this.sums.isTotal(output, this.part, this.targets)
      return (isPicked || isTotalStill) && this.divides(output)
    })
  }

  /** Whether a value is the part itself, or the sum of what it weighs. */
  private isShare(value: Value | undefined): boolean {
    const own = this.sums.behind(value)
    if (own === this.sums.behind(this.part)) return true
    const sum = own?.producer
    const weighed =
      sum && this.sums.isSum(sum) ? this.sums.behind(sum.inputs[2])?.producer : undefined
    return (
      weighed?.op === 'Mul' &&
      weighed.inputs.some((each) => this.sums.behind(each) === this.sums.behind(this.part))
    )
  }
}

const isOnlyRead = ({ outputs: [output] }: Node): boolean =>
  output !== undefined && !output.isGraphOutput && output.uses.size === 1

function holdersOf(nodes: readonly Node[]): Map<Graph, Node> {
  const holders = new Map<Graph, Node>()
  const visit = (node: Node): void => {
    for (const inner of innerGraphs(node)) {
      holders.set(inner, node)
      for (const each of inner.nodes()) visit(each)
    }
  }
  nodes.forEach(visit)
  return holders
}
