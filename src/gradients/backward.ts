/**
 * The walk from the loss back to what is wanted, through one rule per operator (rules/), with attnc's own operators by
 * their kernels or bodies, and with parts of the forward pass done a second time where that is asked for. Gradients of
 * several readers are summed, and broadcasting is undone, here.
 */
import type { GraphEdit } from '../graph/edit.js'
import type { Node, Value } from '../graph/graph.js'
import type { WrittenCall } from '../graph/write-call.js'
import { NodeBuilder } from '../node-builder/node-builder.js'
import { isFloating } from '../onnx/data-type.js'
import type { ShapeInfo } from '../shape/infer.js'
import { activeValues, dependents, reads } from './active.js'
import { addUp } from './add-up.js'
import type { GradientRule } from './gradient-rule.js'
import { SecondForward, zeroOf } from './memory/recompute.js'
import { findSegments, type Segment } from './memory/segments.js'
import { bytesOf, ownerOf } from './memory/step-memory.js'
import { missingRule } from './missing-rule.js'
import { NodeContext } from './node-context.js'
import type { OwnBodies } from './own-backward.js'
import { addAttentionGradient, type OwnGradients } from './own-gradient.js'
import { findGradientRule } from './rules/index.js'

/** What is computed a second time rather than kept. */
export interface Recomputation {
  /** Of the segments between which little crosses, from the first: 1 is all but the last. */
  readonly share: number
  /** Sizes of the symbols in the shapes of the inputs: where little crosses depends on them. */
  readonly sizes: ReadonlyMap<string, number>
}

export interface BackwardOptions {
  readonly recompute?: Recomputation | undefined
  /** Gradient of the loss, shaped like it: what all others are multiples of. Default: 1. */
  readonly seed?: Value | undefined
  /** Gradients that are known already, of values that the loss given here does not read besides. */
  readonly known?: ReadonlyMap<Value, Value> | undefined
  /** Hears of every gradient, once all of it is there. */
  readonly onGradient?: ((value: Value, gradient: Value) => void) | undefined
}

export class Backward {
  /** Values whose gradient is needed: those that a wanted value reaches. */
  private readonly active: ReadonlySet<Value>
  /** Gradients so far, one per reader. */
  private readonly parts = new Map<Value, Value[]>()
  private segment: Segment | undefined
  /** Gradients of this segment that leave it by no way but to what is wanted: of weights. */
  private loose: Value[] = []

  constructor(
    private readonly edit: GraphEdit,
    private readonly shapes: ShapeInfo,
    private readonly loss: Value | undefined,
    private readonly wanted: readonly Value[],
    private readonly bodies: OwnBodies,
    private readonly own: OwnGradients['nodes'],
    private readonly options: BackwardOptions,
  ) {
    this.active = activeValues(edit, shapes, wanted)
  }

  run(): Map<Value, Value> {
    const { edit, loss } = this
    const { recompute, seed, known = [] } = this.options
    const nodes = [...edit.graph.nodes()].filter((node) => !this.bodies.has(node))
    if (loss && this.active.has(loss)) this.parts.set(loss, [this.firstGradient(loss, seed)])
    for (const [value, gradient] of known)
      if (this.active.has(value)) this.parts.set(value, [gradient])
    if (recompute) this.visitSegments(nodes, recompute)
    else for (const node of nodes.reverse()) this.visit(node)
    const found = new Map<Value, Value>()
    for (const value of this.wanted) {
      const gradient = this.gradientOf(value)
      if (gradient) found.set(value, gradient)
    }
    return found
  }

  /** Where order matters, the loss is done first: what it alone reads is not kept beside the backward pass. */
  private firstGradient(loss: Value, seed: Value | undefined): Value {
    const { edit, shapes } = this
    const b = new NodeBuilder(edit, shapes)
    const first = seed ?? b.fill(loss, 1)
    return this.options.recompute ? b.op('Add', [first, zeroOf(b, [loss], loss)]) : first
  }

  private visitSegments(nodes: readonly Node[], { share, sizes }: Recomputation): void {
    const { model } = this.edit.graph
    const fed = this.edit.graph.inputs.filter((input) => !this.wanted.includes(input))
    const ofData = dependents(this.edit, fed)
    const segments = findSegments({
      nodes,
      isOwn: (value) => this.active.has(value) && ofData.has(value),
      bytesOf: (value) => bytesOf(value, this.shapes, sizes) ?? 0,
      ownerOf: (value) => ownerOf(value, this.shapes),
    })
    const count = Math.ceil(share * (segments.length - 1))
    for (const [index, segment] of [...segments.entries()].reverse()) {
      const gradients = this.enter(segment)
      const isKept = index >= count || segment.isFixed
      const second =
        isKept || gradients.length === 0
          ? undefined
          : new SecondForward(new NodeBuilder(this.edit, this.shapes), segment, gradients)
      const start = model.nextNodeId()
      for (const node of segment.nodes.toReversed()) this.visit(node)
      second?.serve(({ id }) => id > start)
    }
  }

  /**
   * Gradients that come into a segment from behind, each once the weights' gradients there are done: else
   * ONNX Runtime leaves those to the end, and what they read is kept until then.
   */
  private enter(segment: Segment): Value[] {
    const b = new NodeBuilder(this.edit, this.shapes)
    const found = segment.leaving.flatMap((value) => {
      const gradient = this.gradientOf(value)
      if (!gradient) return []
      if (this.loose.length === 0) return [gradient]
      const late = b.op('Add', [gradient, zeroOf(b, this.loose, value)])
      this.parts.set(value, [late])
      return [late]
    })
    this.segment = segment
    this.loose = []
    return found
  }

  private visit(node: Node): void {
    const gradients = node.outputs.map((output) => output && this.gradientOf(output))
    if (gradients.every((gradient) => gradient === undefined)) return
    if (!reads(node, this.active)) return
    for (const [index, output] of node.outputs.entries()) {
      const gradient = gradients[index]
      if (output && gradient) this.options.onGradient?.(output, gradient)
    }
    const [gradient] = gradients
    if (gradient && this.own.has(node)) return this.visitOwn(node, gradient)
    const body = this.bodies.find(node)
    if (body) return this.visitBody(node, body, gradients)
    const rule = findGradientRule(node)
    if (!rule) throw missingRule(node, this.active, this.wanted)
    const context = new NodeContext(this.edit, this.shapes, node, gradients, this.active)
    for (const [index, result] of rule.backward(context).entries()) {
      const input = node.inputs[index]
      if (result && input && this.active.has(input))
        this.addPart(input, fit(rule, context, result, input))
    }
  }

  private visitOwn(node: Node, gradient: Value): void {
    const results = addAttentionGradient(this.edit, node, gradient, this.shapes)
    for (const [index, result] of results.entries()) {
      const input = node.inputs[index]
      if (result && input && this.active.has(input)) this.addPart(input, result)
    }
  }

  /** The body of one of attnc's operators, run again for its backward pass alone. */
  private visitBody(
    { inputs }: Node,
    { nodes, outputs }: WrittenCall,
    gradients: readonly (Value | undefined)[],
  ): void {
    const { edit, shapes } = this
    const { model } = edit.graph
    const entering = new Set(inputs.filter((input) => input && this.isFloating(input)))
    const second = new SecondForward(
      new NodeBuilder(edit, shapes),
      { nodes, entering: [...entering] as Value[], leaving: [] },
      gradients.filter((gradient) => gradient !== undefined),
    )
    const start = model.nextNodeId()
    for (const [index, output] of outputs.entries()) {
      const gradient = gradients[index]
      if (output && gradient) this.parts.set(output, [gradient])
    }
    for (const node of nodes.toReversed()) this.visit(node)
    second.serve(({ id }) => id > start)
  }

  private isFloating(value: Value): boolean {
    const type = this.shapes.dataType(value)
    return type !== undefined && isFloating(type)
  }

  private addPart(value: Value, gradient: Value): void {
    const { segment, bodies } = this
    const { producer } = value
    const isOwn = producer && (segment?.nodes.includes(producer) || bodies.has(producer))
    if (segment && !isOwn && !segment.entering.includes(value)) this.loose.push(gradient)
    const known = this.parts.get(value)
    if (known) known.push(gradient)
    else this.parts.set(value, [gradient])
  }

  /** The sum of the parts, made once. */
  private gradientOf(value: Value): Value | undefined {
    const parts = this.parts.get(value)
    if (!parts) return undefined
    const [first] = parts
    if (parts.length === 1) return first
    const sum = addUp(this.edit, parts, `${value.name}/gradient`)
    this.parts.set(value, [sum])
    return sum
  }
}

function fit(rule: GradientRule, context: NodeContext, gradient: Value, input: Value): Value {
  if (!rule.broadcasts) return gradient
  const [output] = context.node.outputs
  return context.unbroadcast(gradient, output && context.shapes.dims(output), input)
}
