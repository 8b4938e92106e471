/**
 * Reverse mode as ordinary nodes of the same graph: the loss is walked back to what is wanted, through
 * one rule per operator. Only nodes between the two get a backward; broadcasting is undone here.
 */
import { AttncError, InternalError } from '../errors.js'
import type { GraphEdit } from '../graph/edit.js'
import type { Attribute, Node, Value } from '../graph/graph.js'
import { isFloating } from '../onnx/data-type.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { int64Tensor } from '../onnx/tensor.js'
import { inferShapes, type ShapeInfo } from '../shape/infer.js'
import { Size } from '../shape/symbolic.js'
import type { Attributes, GradientContext, GradientRule } from './gradient-rule.js'
import { findGradientRule, gradientRuleNames } from './rules/index.js'

/** The first opset whose ScatterND and ScatterElements can add. */
const OLDEST_OPSET = 16

/**
 * Adds nodes that compute the gradient of `loss` (a scalar) with respect to each value of `wanted`
 * (inputs, weights or intermediate values); values that the loss does not depend on are left out.
 * Errors: LOSS_NOT_SCALAR, OPSET_TOO_OLD, GRADIENT_RULE_MISSING with the path to the operator.
 */
export function addGradients(
  edit: GraphEdit,
  loss: Value,
  wanted: readonly Value[],
): ReadonlyMap<Value, Value> {
  const shapes = inferShapes(edit.graph)
  const size = shapes.dims(loss)?.reduce((product, each) => product.mul(each), Size.of(1))
  if (!size?.isOne)
    throw new AttncError(
      'LOSS_NOT_SCALAR',
      'usage',
      `The loss "${loss.name}" is [${shapes.dims(loss)?.join(', ') ?? 'of unknown rank'}]; it has to be one number.`,
      { suggestions: ['Take its mean or its sum.'] },
    )
  const opset = edit.graph.model.opsets.get('') ?? 1
  if (opset < OLDEST_OPSET)
    throw new AttncError(
      'OPSET_TOO_OLD',
      'model',
      `Gradients need opset ${OLDEST_OPSET}; the model has ${opset}.`,
      { suggestions: ['Export the model again with a newer opset.'] },
    )
  return new Backward(edit, shapes, opset, loss, wanted).run()
}

class Backward {
  /** Values whose gradient is needed: those that a wanted value reaches. */
  private readonly active = new Set<Value>()
  /** Gradients so far, one per reader. */
  private readonly parts = new Map<Value, Value[]>()

  constructor(
    private readonly edit: GraphEdit,
    private readonly shapes: ShapeInfo,
    private readonly opset: number,
    private readonly loss: Value,
    private readonly wanted: readonly Value[],
  ) {}

  run(): Map<Value, Value> {
    const nodes = [...this.edit.graph.nodes()]
    this.spread(nodes)
    if (this.active.has(this.loss)) this.parts.set(this.loss, [this.onesLike(this.loss)])
    for (const node of nodes.reverse()) this.visit(node)
    const found = new Map<Value, Value>()
    for (const value of this.wanted) {
      const gradient = this.gradientOf(value)
      if (gradient) found.set(value, gradient)
    }
    return found
  }

  /** Marks what depends on the wanted values, through floating numbers only. */
  private spread(nodes: readonly Node[]): void {
    for (const value of this.wanted) this.active.add(value)
    for (const node of nodes) {
      if (!node.inputs.some((input) => input && this.active.has(input))) continue
      for (const output of node.outputs) if (output && this.isFloat(output)) this.active.add(output)
    }
  }

  private isFloat(value: Value): boolean {
    const type = this.shapes.dataType(value)
    return type === undefined || isFloating(type)
  }

  private visit(node: Node): void {
    const gradients = node.outputs.map((output) => output && this.gradientOf(output))
    if (gradients.every((gradient) => gradient === undefined)) return
    if (!node.inputs.some((input) => input && this.active.has(input))) return
    const rule = findGradientRule(node)
    if (!rule) throw this.missingRule(node)
    const results = rule.backward(this.context(node, gradients))
    const [output] = node.outputs
    for (const [index, result] of results.entries()) {
      const input = node.inputs[index]
      if (!result || !input || !this.active.has(input)) continue
      const dims = output && this.shapes.dims(output)
      this.addPart(input, this.fit(rule, result, dims, input))
    }
  }

  private fit(
    rule: GradientRule,
    gradient: Value,
    dims: readonly Size[] | undefined,
    input: Value,
  ): Value {
    return rule.broadcasts ? this.unbroadcast(gradient, dims, input) : gradient
  }

  private addPart(value: Value, gradient: Value): void {
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
    const sum = this.edit.add('Sum', parts, { output: `${value.name}/gradient` })
    this.parts.set(value, [sum])
    return sum
  }

  private context(node: Node, gradients: readonly (Value | undefined)[]): GradientContext {
    const { edit, shapes, opset } = this
    return {
      node,
      edit,
      shapes,
      opset,
      gradient: (index) => gradients[index],
      input: (index) => required(node.inputs[index], node, `input ${index}`),
      output: (index) => required(node.outputs[index], node, `output ${index}`),
      needs: (index) => {
        const input = node.inputs[index]
        return input !== undefined && this.active.has(input)
      },
      op: (op, inputs, attributes) => this.op(op, inputs, attributes),
      scalar: (number, like) => this.scalar(number, like),
      ints: (...numbers) => this.ints(numbers),
      shapeOf: (value) => this.shapeOf(value),
      rank: (value) => this.rank(value, node),
      zerosLike: (value) => this.fill(value, 0),
      unbroadcast: (gradient, dims, target) => this.unbroadcast(gradient, dims, target),
    }
  }

  private op(op: string, inputs: readonly (Value | undefined)[], stated: Attributes = {}): Value {
    const attributes = Object.fromEntries(
      Object.entries(stated).map(([name, value]) => [name, toAttribute(value)]),
    )
    return this.edit.add(op, inputs, { attributes })
  }

  private ints(numbers: readonly number[]): Value {
    return this.edit.constant(int64Tensor([numbers.length], numbers))
  }

  private scalar(number: number, like: Value): Value {
    const type = this.shapes.dataType(like) ?? 'float32'
    return this.edit.constant(toConstant(tensorOf(type, [], [number])))
  }

  private shapeOf(value: Value): Value {
    const sizes = this.shapes.dims(value)?.map((size) => size.value)
    return sizes?.every((size) => size !== undefined)
      ? this.ints(sizes as number[])
      : this.op('Shape', [value])
  }

  private rank(value: Value, node: Node): number {
    const dims = this.shapes.dims(value)
    if (dims) return dims.length
    throw new AttncError(
      'RANK_UNKNOWN',
      'model',
      `The gradient of "${node.label}" (${node.op}) needs the rank of "${value.name}", which is not known.`,
      { suggestions: ['Declare the shapes of the model’s inputs.'] },
    )
  }

  private fill(value: Value, number: number): Value {
    const type = this.shapes.dataType(value) ?? 'float32'
    return this.op('ConstantOfShape', [this.shapeOf(value)], {
      value: { kind: 'tensor', value: toConstant(tensorOf(type, [1], [number])) },
    })
  }

  private onesLike(value: Value): Value {
    return this.fill(value, 1)
  }

  /** Sums over the axes that `target` lacks or has as a 1, whichever of it shows only while running. */
  private unbroadcast(gradient: Value, dims: readonly Size[] | undefined, target: Value): Value {
    const own = this.shapes.dims(target)
    if (!dims || !own)
      throw new InternalError(`the gradient of "${target.name}" has an unknown rank`)
    const extra = dims.length - own.length
    const leading = Array.from({ length: Math.max(extra, 0) }, (_, axis) => axis)
    let result = gradient
    if (leading.length > 0)
      result = this.op('ReduceSum', [result, this.ints(leading)], { keepdims: 0 })
    const repeated: number[] = []
    let isOpen = false
    for (const [axis, size] of own.entries()) {
      const wide = dims[axis + extra] as Size
      if (size.equals(wide)) continue
      if (size.isOne) repeated.push(axis)
      else if (size.value === undefined) isOpen = true
    }
    if (repeated.length > 0)
      result = this.op('ReduceSum', [result, this.ints(repeated)], { keepdims: 1 })
    if (!isOpen) return result
    const isOne = this.op('Equal', [this.op('Shape', [target]), this.ints([1])])
    const axes = this.op('Reshape', [this.op('NonZero', [isOne]), this.ints([-1])])
    return this.op('ReduceSum', [result, axes], { keepdims: 1, noop_with_empty_axes: 1 })
  }

  private missingRule(node: Node): AttncError {
    const path = this.pathTo(node)
    return new AttncError(
      'GRADIENT_RULE_MISSING',
      'model',
      `There is no gradient rule for ${node.domain ? `${node.domain}.` : ''}${node.op} ("${node.label}"), which lies between "${path[0]}" and the loss: ${path.join(' → ')}.`,
      { suggestions: [`Operators that have one: ${gradientRuleNames.join(', ')}.`] },
    )
  }

  /** From a wanted value to the node, as labels; the middle is left out where it is long. */
  private pathTo(node: Node): string[] {
    const labels = [node.label]
    for (let at: Node | undefined = node; at; ) {
      const input: Value | undefined = at.inputs.find((each) => each && this.active.has(each))
      if (!input) break
      labels.unshift(input.producer?.label ?? input.name)
      if (this.wanted.includes(input)) break
      at = input.producer
    }
    return labels.length > 8 ? [...labels.slice(0, 3), '…', ...labels.slice(-4)] : labels
  }
}

function required(value: Value | undefined, node: Node, slot: string): Value {
  if (value) return value
  throw new InternalError(`"${node.label}" (${node.op}) has no ${slot}`)
}

function toAttribute(value: Attributes[string]): Attribute {
  if (typeof value === 'number') return { kind: 'int', value: BigInt(value) }
  if (typeof value === 'string') return { kind: 'string', value: new TextEncoder().encode(value) }
  if (Array.isArray(value)) return { kind: 'ints', value: value.map(BigInt) }
  return value as Attribute
}
