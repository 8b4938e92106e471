/** A model of one attnc node, whose inputs are the graph's. */
import { blockSparseAttention } from '../../kernels/block-sparse-attention/index.js'
import { emitKernel } from '../../kernels/kernel.js'
import { edit } from '../../src/graph/edit.js'
import { Model } from '../../src/graph/graph.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { type AttentionCase, caseInputs } from './cases.js'

export interface OneNode {
  readonly model: Model
  readonly feeds: Record<string, RuntimeTensor>
}

export interface OneNodeOptions {
  readonly opset?: number
  readonly outputs?: number
  /** The graph declares no sizes, so that wrong ones reach the operator. */
  readonly isLoose?: boolean
}

export function oneNode(each: AttentionCase, options: OneNodeOptions = {}): OneNode {
  const inputs = caseInputs(each)
  const model = new Model()
  model.opsets.set('', options.opset ?? 17)
  const feeds: Record<string, RuntimeTensor> = {}
  edit(model.graph, 'attention', (change) => {
    const values = inputs.map((tensor, index) => {
      if (!tensor) return undefined
      const name = blockSparseAttention.inputs[index]?.name ?? ''
      feeds[name] = tensor
      const dims = options.isLoose ? tensor.dims.map(() => undefined) : tensor.dims
      return change.addInput(name, tensor.dataType, dims)
    })
    const node = emitKernel(change, blockSparseAttention, {
      inputs: values,
      attributes: each.attributes,
      outputs: options.outputs ?? 1,
    })
    const attributes = blockSparseAttention.decode(node)
    const types = blockSparseAttention.infer(inputs, attributes)
    for (const [index, output] of node.outputs.entries()) {
      if (!output) continue
      const { dataType, dims } = types[index] as { dataType: 'float32'; dims: number[] }
      change.setType(output, { dataType, dims: options.isLoose ? undefined : dims })
      change.expose(output)
    }
  })
  return { model, feeds }
}
