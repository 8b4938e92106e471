/** Small graphs written by hand: each call is a node, weights are random and the same in every run. */
import { generator } from '../../src/data/generator.js'
import { edit, GraphEdit } from '../../src/graph/edit.js'
import { type Attribute, Graph, Model, type TensorType, type Value } from '../../src/graph/graph.js'
import type { DataType } from '../../src/onnx/data-type.js'
import { elementCount, float32Tensor, int64Tensor, tensorFromBytes } from '../../src/onnx/tensor.js'

type Setting = number | readonly number[] | string

export class Builder {
  private readonly random = generator(7)

  constructor(private readonly change: GraphEdit) {}

  input(name: string, dims: TensorType['dims'], dataType: DataType = 'float32'): Value {
    return this.change.addInput(name, dataType, dims)
  }

  op(op: string, inputs: readonly (Value | undefined)[], settings: Record<string, Setting> = {}) {
    return this.change.add(op, inputs, { attributes: attributesOf(settings) })
  }

  split(value: Value, axis: number, count: number): Value[] {
    const node = this.change.addNode({
      op: 'Split',
      inputs: [value],
      outputs: Array.from({ length: count }, (_, index) => `part${index}`),
      attributes: attributesOf({ axis, num_outputs: count }),
    })
    return node.outputs as Value[]
  }

  /** All outputs of a node. */
  ops(
    op: string,
    inputs: readonly Value[],
    outputs: number,
    domain = '',
    settings: Record<string, Setting> = {},
  ): Value[] {
    const names = Array.from({ length: outputs }, (_, index) => `made${index}`)
    const attributes = attributesOf(settings)
    return this.change.addNode({ op, inputs, outputs: names, domain, attributes })
      .outputs as Value[]
  }

  weight(...dims: number[]): Value {
    const data = Array.from({ length: elementCount(dims) }, () => this.random() - 0.5)
    return this.change.constant(float32Tensor(dims, data))
  }

  scalar(value: number): Value {
    return this.change.constant(float32Tensor([], [value]))
  }

  numbers(data: readonly number[], ...dims: number[]): Value {
    return this.change.constant(float32Tensor(dims, data))
  }

  filled(value: number, ...dims: number[]): Value {
    return this.numbers(
      Array.from({ length: elementCount(dims) }, () => value),
      ...dims,
    )
  }

  bytes(data: readonly number[], ...dims: number[]): Value {
    return this.change.constant(tensorFromBytes('uint8', dims, Uint8Array.from(data)))
  }

  /** Yes and no. */
  flags(data: readonly boolean[], ...dims: number[]): Value {
    return this.change.constant(tensorFromBytes('bool', dims, Uint8Array.from(data, Number)))
  }

  whole(value: number): Value {
    return this.change.constant(int64Tensor([], [value]))
  }

  integers(...values: number[]): Value {
    return this.change.constant(int64Tensor([values.length], values))
  }

  linear(value: Value, from: number, to: number): Value {
    return this.op('Add', [this.op('MatMul', [value, this.weight(from, to)]), this.weight(to)])
  }

  reshape(value: Value, ...dims: number[]): Value {
    return this.op('Reshape', [value, this.integers(...dims)])
  }

  transpose(value: Value, ...perm: number[]): Value {
    return this.op('Transpose', [value], { perm })
  }

  /** Either branch, written in a graph of its own that may read what is outside. */
  branch(condition: Value, yes: (b: Builder) => Value, no: (b: Builder) => Value): Value {
    const [result] = this.branches(
      condition,
      (b) => ({ result: yes(b) }),
      (b) => ({ result: no(b) }),
    )
    return result as Value
  }

  /** Branches of several results, which are called by the names of the first. */
  branches(
    condition: Value,
    yes: (b: Builder) => Readonly<Record<string, Value>>,
    no: (b: Builder) => Readonly<Record<string, Value>>,
  ): Value[] {
    const { graph } = this.change
    const names = new Set<string>()
    const write = (name: string, branch: typeof yes): Attribute => {
      const inner = new Graph(name, graph.model, graph)
      // The law is checked once the node that holds it stands.
      const builder = new Builder(new GraphEdit(inner, name))
      for (const [key, value] of Object.entries(branch(builder))) {
        names.add(key)
        builder.expose(value)
      }
      return { kind: 'graph', value: inner }
    }
    const attributes = { then_branch: write('yes', yes), else_branch: write('no', no) }
    return this.change.addNode({
      op: 'If',
      inputs: [condition],
      outputs: [...names],
      attributes,
    }).outputs as Value[]
  }

  /** One position of an axis. */
  pick(value: Value, axis: number, index: number): Value {
    const position = this.change.constant(int64Tensor([], [index]))
    return this.op('Gather', [value, position], { axis })
  }

  declare(value: Value, dims: TensorType['dims'], dataType: DataType = 'float32'): void {
    this.change.setType(value, { dataType, dims })
  }

  expose(value: Value): void {
    this.change.expose(value)
  }
}

function attributesOf(settings: Record<string, Setting>): Record<string, Attribute> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]): [string, Attribute] => {
      if (typeof value === 'string')
        return [name, { kind: 'string', value: new TextEncoder().encode(value) }]
      if (typeof value === 'number') return [name, { kind: 'int', value: BigInt(value) }]
      return [name, { kind: 'ints', value: value.map(BigInt) }]
    }),
  )
}

/** A model whose last value is its output. */
export function build(write: (builder: Builder) => Value): Model {
  const model = new Model()
  model.irVersion = 9
  model.opsets.set('', 20)
  model.opsets.set('com.microsoft', 1)
  edit(model.graph, 'build', (change) => {
    const builder = new Builder(change)
    builder.expose(write(builder))
  })
  return model
}
