/** The verbs of an edit that are about values: constants, inputs and outputs of the graph, types, names. */
import type { DataType } from '../onnx/data-type.js'
import type { Tensor } from '../onnx/tensor.js'
import { FreshNames } from './fresh-names.js'
import { type Graph, type TensorType, Value } from './graph.js'

export class ValueEdit {
  /** Inverse steps, the last one first to be taken. Lists of the graph are put back whole besides (snapshot.ts). */
  protected readonly journal: (() => void)[] = []
  protected readonly names: FreshNames

  constructor(
    readonly graph: Graph,
    readonly label: string,
  ) {
    this.names = new FreshNames(graph)
  }

  /** A new initializer. */
  constant(tensor: Tensor, name = `${this.label}/constant`): Value {
    const value = this.newValue(name)
    value.constant = tensor
    value.type = { dataType: tensor.dataType, dims: tensor.dims }
    return value
  }

  /** A new graph input. */
  addInput(name: string, dataType: DataType, dims: TensorType['dims']): Value {
    const value = this.newValue(name)
    value.type = { dataType, dims }
    this.graph.inputs.push(value)
    return value
  }

  /** Takes a graph input away that nothing reads. */
  removeInput(input: Value): void {
    const at = this.graph.inputs.indexOf(input)
    if (at < 0 || input.uses.size > 0 || input.isGraphOutput) return
    this.graph.inputs.splice(at, 1)
    this.graph.values.delete(input.name)
  }

  /** An input that holds a default is a constant from now on, which nobody feeds. */
  fixInput(input: Value): void {
    const at = this.graph.inputs.indexOf(input)
    if (at >= 0 && input.constant) this.graph.inputs.splice(at, 1)
  }

  setConstant(value: Value, tensor: Tensor): void {
    const { constant, type } = value
    value.constant = tensor
    value.type = { dataType: tensor.dataType, dims: tensor.dims }
    this.journal.push(() => {
      value.constant = constant
      value.type = type
    })
  }

  setType(value: Value, type: TensorType | undefined): void {
    const before = value.type
    value.type = type
    this.journal.push(() => {
      value.type = before
    })
  }

  /** Makes `value` a graph output, under its own name. */
  expose(value: Value): void {
    if (!value.isGraphOutput) this.graph.outputs.push(value)
  }

  /** Takes a graph output away (the value stays). */
  hide(value: Value): void {
    const at = this.graph.outputs.indexOf(value)
    if (at >= 0) this.graph.outputs.splice(at, 1)
  }

  /** Removes an initializer that nothing reads. */
  eraseConstant(value: Value): void {
    if (value.uses.size > 0 || value.isGraphOutput || value.producer) return
    this.graph.values.delete(value.name)
  }

  protected newValue(name: string): Value {
    const unique = this.names.unlike(name)
    const value = new Value(unique, this.graph)
    this.graph.values.set(unique, value)
    return value
  }
}
