/** The steps of a row program as they are written: what is read or stated twice is one step. */
import type { Operation, Port, PortKind, Step } from '../../../kernels/row-program/program.js'
import type { Value } from '../../graph/graph.js'
import type { RowAccess } from './row-access.js'

export class RowSteps {
  readonly steps: Step[] = []
  /** What is read, by port. */
  readonly inputs: Readonly<Record<PortKind, Value[]>> = {
    narrow: [],
    wide: [],
    index: [],
    truth: [],
  }
  private readonly known = new Map<string, number>()

  constructor(readonly columns: number) {}

  op(op: Operation, ...of: number[]): number {
    return this.add({ op, of })
  }

  number(value: number): number {
    return this.add({ op: 'number', value })
  }

  /** 1 in the column that `index` names, counted from the end where it is negative; else 0. */
  atColumn(index: number): number {
    const counted = this.op('less', index, this.number(0))
    const size = this.number(this.columns)
    const place = this.op('choose', counted, this.op('add', index, size), index)
    return this.op('equal', this.column(), place)
  }

  column(): number {
    return this.add({ op: 'column' })
  }

  /** The column c has what the value has in column c + shift. */
  read(value: Value, kind: PortKind, access: RowAccess, shift = 0): number {
    const list = this.inputs[kind]
    const at = list.indexOf(value)
    const number = at < 0 ? list.push(value) - 1 : at
    const port: Port = { kind, number }
    return this.add({ op: 'read', port, ...access, shift })
  }

  private add(step: Step): number {
    const key = JSON.stringify(step)
    const found = this.known.get(key)
    if (found !== undefined) return found
    this.known.set(key, this.steps.length)
    return this.steps.push(step) - 1
  }
}
