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

export function oneNode(each: AttentionCase, options: { opset?: number; outputs?: number } = {}) {
  const inputs = caseInputs(each)
  const model = new Model()
  model.opsets.set('', options.opset ?? 17)
  const feeds: Record<string, RuntimeTensor> = {}
  edit(model.graph, 'attention', (change) => {
    const values = inputs.map((tensor, index) => {
      if (!tensor) return undefined
      const name = blockSparseAttention.inputs[index]?.name ?? ''
      feeds[name] = tensor
      return change.addInput(name, tensor.dataType, tensor.dims)
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
      change.setType(output, { dataType, dims })
      change.expose(output)
    }
  })
  return { model, feeds }
}
