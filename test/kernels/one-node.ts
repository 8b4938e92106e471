/** A model of one attnc node, whose inputs are the graph's. */
import { emitKernel, type Kernel } from '../../kernels/kernel.js'
import { edit } from '../../src/graph/edit.js'
import { Model } from '../../src/graph/graph.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openNativeSession } from '../../src/runtime/native/session.js'
import { type Feeds, openSession, type Session } from '../../src/runtime/session.js'

export interface OneNode<Attributes> {
  readonly kernel: Kernel<Attributes>
  /** In the operator's order; those left out are undefined. */
  readonly inputs: readonly (RuntimeTensor | undefined)[]
  readonly attributes: Partial<Attributes>
  readonly opset?: number
  readonly outputs?: number
  /** The graph declares no sizes, so that wrong ones reach the operator. */
  readonly isLoose?: boolean
}

export interface RunnableNode {
  readonly model: Model
  readonly feeds: Record<string, RuntimeTensor>
}

export function oneNode<Attributes>(given: OneNode<Attributes>): RunnableNode {
  const { kernel, inputs, isLoose } = given
  const model = new Model()
  model.opsets.set('', given.opset ?? 17)
  const feeds: Record<string, RuntimeTensor> = {}
  edit(model.graph, 'node', (change) => {
    const values = inputs.map((tensor, index) => {
      if (!tensor) return undefined
      const name = kernel.inputs[index]?.name ?? ''
      feeds[name] = tensor
      const dims = isLoose ? tensor.dims.map(() => undefined) : tensor.dims
      return change.addInput(name, tensor.dataType, dims)
    })
    const node = emitKernel(change, kernel, {
      inputs: values,
      attributes: given.attributes,
      ...(given.outputs ? { outputs: given.outputs } : {}),
    })
    const types = kernel.infer(inputs, kernel.decode(node))
    for (const [index, output] of node.outputs.entries()) {
      if (!output) continue
      const { dataType = 'float32', dims } = types[index] ?? {}
      change.setType(output, { dataType, dims: isLoose ? undefined : dims })
      change.expose(output)
    }
  })
  return { model, feeds }
}

export interface OpenNode extends AsyncDisposable {
  /** Runs with the inputs of `node`, whose operator and attributes are those of the one that was opened. */
  run(node: { readonly inputs: OneNode<unknown>['inputs'] }): Promise<RuntimeTensor[]>
}

async function openNode<Attributes>(
  node: OneNode<Attributes>,
  open: (path: string) => Promise<Session>,
): Promise<OpenNode> {
  const file = materialise(oneNode(node).model)
  const session = await open(file.path)
  return {
    async run({ inputs }) {
      const named = inputs.map((each, index) => [node.kernel.inputs[index]?.name, each])
      const feeds = Object.fromEntries(named.filter(([, each]) => each)) as Feeds
      return Object.values(await session.run(feeds))
    },
    async [Symbol.asyncDispose]() {
      await session.close()
      file.dispose()
    },
  }
}

/** By onnxruntime-node, which knows no operator of attnc: by the body. */
export const openBody = <Attributes>(node: OneNode<Attributes>): Promise<OpenNode> =>
  openNode(node, (path) => openSession({ path, threads: 1 }))

/** By attnc's kernel. */
export const openKernel = <Attributes>(node: OneNode<Attributes>): Promise<OpenNode> =>
  openNode({ ...node, isLoose: true }, (path) => openNativeSession({ path, threads: 2 }))

export async function runBody<Attributes>(node: OneNode<Attributes>): Promise<RuntimeTensor[]> {
  await using body = await openBody(node)
  return await body.run(node)
}

export async function runKernel<Attributes>(node: OneNode<Attributes>): Promise<RuntimeTensor[]> {
  await using kernel = await openKernel(node)
  return await kernel.run(node)
}

/** The specification's outputs. */
export const runReference = <Attributes>({
  kernel,
  inputs,
  attributes,
}: OneNode<Attributes>): readonly RuntimeTensor[] =>
  kernel.reference(inputs, kernel.attributes(attributes))
