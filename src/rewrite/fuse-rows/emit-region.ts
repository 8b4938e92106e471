/** A region as a node: its program, and its ports. The region's own nodes stay, and make nothing that is read. */
import { emitKernel } from '../../../kernels/kernel.js'
import { rowPorts, rowProgram } from '../../../kernels/row-program/index.js'
import {
  type Port,
  type PortKind,
  print,
  type RowProgram,
} from '../../../kernels/row-program/program.js'
import type { GraphEdit } from '../../graph/edit.js'
import type { Node, Value } from '../../graph/graph.js'
import { onlyNumber } from '../../onnx/numbers.js'
import type { ShapeInfo } from '../../shape/infer.js'
import { knownSizes } from '../../shape/known-sizes.js'
import { regionReads } from './region-reads.js'
import type { Region } from './regions.js'
import { accessOf, type RowAccess } from './row-access.js'
import { RowSteps } from './row-steps.js'
import type { RowWork } from './row-work.js'

export interface Surroundings {
  readonly shapes: ShapeInfo
  readonly works: ReadonlyMap<Node, RowWork>
  /** Whether a value is needed outside of the region. */
  isRead(value: Value): boolean
}

/** False where nothing that the region reads says what type the operator is of. */
export function emitRegion(
  edit: GraphEdit,
  { nodes, dims }: Region,
  { shapes, works, isRead }: Surroundings,
): boolean {
  const isHalf = (value: Value): boolean => shapes.dataType(value) === 'float16'
  const results = nodes.flatMap(({ outputs }) =>
    outputs.filter((each) => each && isRead(each)),
  ) as Value[]
  const reads = regionReads(nodes, works)
  const hasHalf = [...reads.operands, ...reads.apart.map(({ value }) => value)].some(isHalf)
  if (!hasHalf && results.some(isHalf)) return false
  // Without a value in half precision, the operator's own type is float32.
  const kindOf = (value: Value): PortKind => (hasHalf && !isHalf(value) ? 'wide' : 'narrow')

  const steps = new RowSteps(dims.at(-1) as number)
  const made = new Map<Value, number>()
  const access = (value: Value): RowAccess =>
    accessOf(knownSizes(value, shapes) ?? [], dims) as RowAccess
  const stepOf = (value: Value): number => {
    const number = onlyNumber(value.constant)
    if (number !== undefined) return steps.number(number)
    return made.get(value) ?? steps.read(value, kindOf(value), access(value))
  }
  for (const node of nodes) {
    const work = works.get(node) as RowWork
    const apart = work.apart.map(({ value, kind = kindOf(value), shift }) =>
      steps.read(value, kind, access(value), shift),
    )
    made.set(node.outputs[0] as Value, work.write(steps, work.operands.map(stepOf), apart))
  }
  if (steps.inputs.narrow.length === 0) return false
  const counts: Partial<Record<PortKind, number>> = {}
  const writes = results.map((value) => {
    const kind = kindOf(value)
    const number = counts[kind] ?? 0
    counts[kind] = number + 1
    return { port: { kind, number }, step: made.get(value) as number }
  })
  const program = { dims, steps: steps.steps, writes }
  const node = addNode(edit, program, { steps, hasHalf, name: `${results[0]?.name}/rows` })
  for (const [at, value] of results.entries()) {
    edit.setType(value, { dataType: shapes.dataType(value), dims: knownSizes(value, shapes) })
    edit.moveOutput(value, node, rowPorts.output(writes[at]?.port as Port))
  }
  return true
}

function addNode(
  edit: GraphEdit,
  program: RowProgram,
  { steps, hasHalf, name }: { steps: RowSteps; hasHalf: boolean; name: string },
): Node {
  const inputs: (Value | undefined)[] = new Array(rowPorts.inputs).fill(undefined)
  for (const [kind, values] of Object.entries(steps.inputs) as [PortKind, Value[]][])
    for (const [number, value] of values.entries()) inputs[rowPorts.input({ kind, number })] = value
  const places = program.writes.map(({ port }) => rowPorts.output(port))
  return emitKernel(edit, rowProgram, {
    inputs,
    attributes: { program: print(program) },
    // Those between that the program doesn't write are empty.
    outputs: Math.max(...places) + 1,
    name,
    dataType: hasHalf ? 'float16' : 'float32',
  })
}
