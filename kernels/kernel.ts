/**
 * What an operator of the domain `attnc` is made of: a contract (inputs, attributes, shapes), a
 * float64 reference that is the specification, and a body of standard ONNX operators that a model
 * carries, so that it runs where attnc's library is not loaded. A registered kernel beats the body.
 */
import { AttncError } from '../src/errors.js'
import type { GraphEdit } from '../src/graph/edit.js'
import { type Attribute, Graph, type Model, type Node, type Value } from '../src/graph/graph.js'
import type { DataType } from '../src/onnx/data-type.js'
import type { RuntimeTensor } from '../src/onnx/numbers.js'
import type { ShapeInfo } from '../src/shape/infer.js'
import { BodyBuilder } from './body-builder.js'

export const KERNEL_DOMAIN = 'attnc'
/** Functions are told apart by their overload, which came with this version of the format. */
const OVERLOAD_IR_VERSION = 10
/** The bodies need Softmax and ReduceSum as they have been since. */
const OLDEST_OPSET = 13

export interface KernelPort {
  readonly name: string
  readonly shape: string
  /** Where it is not that of the first input, in any precision. */
  readonly type?: DataType
  readonly isOptional?: boolean
}

/** What is known of an input when a node is checked. */
export interface KernelType {
  readonly dataType: DataType
  readonly dims: readonly number[]
}

/** Of a value in a graph; a size that shows only while running is NaN. undefined where type or rank is not known. */
export function kernelTypeOf(value: Value | undefined, shapes: ShapeInfo): KernelType | undefined {
  const dataType = value && shapes.dataType(value)
  const dims = value && shapes.dims(value)
  return dataType && dims && { dataType, dims: dims.map((size) => size.value ?? Number.NaN) }
}

/** One predicate for two uses: it picks a kernel, and explains why not. */
export type CanRun = { readonly ok: true } | { readonly ok: false; readonly reason: string }

export interface Kernel<Attributes> {
  readonly name: string
  readonly version: number
  readonly inputs: readonly KernelPort[]
  readonly outputs: readonly KernelPort[]
  /** Defaults filled in, ranges checked. Error: KERNEL_ATTRIBUTE. */
  attributes(given: Partial<Attributes>): Attributes
  encode(attributes: Attributes): Readonly<Record<string, Attribute>>
  decode(node: Node): Attributes
  /** Checks the inputs and gives the outputs' types. Error: KERNEL_INPUT. */
  infer(inputs: readonly (KernelType | undefined)[], attributes: Attributes): readonly KernelType[]
  /** The specification, in float64. Outputs have the type of the first input. */
  reference(
    inputs: readonly (RuntimeTensor | undefined)[],
    attributes: Attributes,
  ): readonly RuntimeTensor[]
  /** The same in standard operators; `inputs` that a node leaves out are undefined. */
  body(
    build: BodyBuilder,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
    outputs: number,
  ): readonly Value[]
  /** Whether attnc's own native kernel takes it: the one for CPUs, or for CUDA where there is none for CPUs. */
  canRun(inputs: readonly (KernelType | undefined)[], attributes: Attributes): CanRun
}

export const kernelError = (
  code: 'KERNEL_ATTRIBUTE' | 'KERNEL_INPUT',
  operator: string,
  message: string,
): AttncError =>
  new AttncError(code, 'model', `attnc.${operator}: ${message}`, {
    suggestions: [`docs/kernels describes the inputs and attributes of ${operator}.`],
  })

export interface EmitOptions<Attributes> {
  readonly inputs: readonly (Value | undefined)[]
  readonly attributes: Partial<Attributes>
  /** How many outputs the node has; optional ones are last. */
  readonly outputs?: number
  /** Of the first input. Default: as it is declared. */
  readonly dataType?: DataType | undefined
  readonly name?: string
  readonly before?: Node | undefined
}

/** Adds a node of the operator, and to the model the function that it falls back to. */
export function emitKernel<Attributes>(
  edit: GraphEdit,
  kernel: Kernel<Attributes>,
  options: EmitOptions<Attributes>,
): Node {
  const { model } = edit.graph
  const attributes = kernel.attributes(options.attributes)
  const count = options.outputs ?? kernel.outputs.filter((port) => !port.isOptional).length
  const isPresent = kernel.inputs.map((_, index) => options.inputs[index] !== undefined)
  // Trailing inputs that are left out are inputs of neither the node nor the function.
  const present = isPresent.slice(0, isPresent.lastIndexOf(true) + 1)
  const dataType = options.dataType ?? options.inputs[0]?.type?.dataType ?? 'float32'
  const overload = declareKernel(model, kernel, { attributes, present, count, dataType })
  return edit.addNode({
    op: kernel.name,
    domain: KERNEL_DOMAIN,
    overload,
    inputs: options.inputs.slice(0, present.length),
    outputs: kernel.outputs
      .slice(0, count)
      .map((port) => `${options.name ?? edit.label}/${port.name}`),
    attributes: kernel.encode(attributes),
    ...(options.name ? { name: options.name } : {}),
    before: options.before,
  })
}

/** One function for each way in which the operator is used: attributes, inputs and type are in its name. */
function overloadName<Attributes>(
  kernel: Kernel<Attributes>,
  attributes: Attributes,
  present: readonly boolean[],
  count: number,
  dataType: DataType,
): string {
  const settings = Object.entries(attributes as object).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : Number(value)}`,
  )
  const inputs = kernel.inputs.filter((port, index) => port.isOptional && present[index])
  return [...settings, ...inputs.map(({ name }) => name), dataType, `outputs=${count}`].join(',')
}

interface FunctionRequest<Attributes> {
  readonly attributes: Attributes
  /** Which inputs there are, up to the last one. */
  readonly present: readonly boolean[]
  readonly count: number
  readonly dataType: DataType
}

/** Puts the function of such a use into the model, where it isn't yet; returns its overload. */
export function declareKernel<Attributes>(
  model: Model,
  kernel: Kernel<Attributes>,
  { attributes, present, count, dataType }: FunctionRequest<Attributes>,
): string {
  const overload = overloadName(kernel, attributes, present, count, dataType)
  const opset = model.opsets.get('') ?? 0
  if (opset < OLDEST_OPSET)
    throw new AttncError(
      'OPSET_TOO_OLD',
      'model',
      `The model is of opset ${opset}; attnc.${kernel.name} needs ${OLDEST_OPSET} or later.`,
      { suggestions: ['Export the model again with a newer opset.'] },
    )
  model.irVersion = Math.max(model.irVersion, OVERLOAD_IR_VERSION)
  model.opsets.set(KERNEL_DOMAIN, kernel.version)
  const isDeclared = model.functions.some(
    (each) =>
      each.domain === KERNEL_DOMAIN && each.name === kernel.name && each.overload === overload,
  )
  if (isDeclared) return overload
  const body = new Graph(kernel.name, model)
  const build = new BodyBuilder(body, kernel.name, opset)
  const inputs = kernel.inputs.slice(0, present.length).map((port, index) => {
    const value = build.input(port.name, index === 0 ? dataType : 'float32')
    return present[index] ? value : undefined
  })
  for (const value of kernel.body(build, inputs, attributes, count)) build.output(value)
  model.functions.push({
    domain: KERNEL_DOMAIN,
    name: kernel.name,
    overload,
    body,
    opsets: new Map([['', opset]]),
    attributes: Object.keys(kernel.encode(attributes)),
    defaults: new Map(),
    message: undefined,
  })
  return overload
}
