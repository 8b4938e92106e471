/**
 * What an index says, whoever spells it: two indices of one source pick the same members. Exporters write the
 * targets of edges anew for every layer and every operator, in the shape that it wants.
 */
import type { Attribute, Node, Value } from '../graph/graph.js'
import { fromConstant, numbersOf } from '../onnx/numbers.js'
import { elementCount } from '../onnx/tensor.js'

/** Operators that hand on the numbers of their first input, in another shape or type. */
const sameNumbers = new Set('Reshape Flatten Squeeze Unsqueeze Expand Cast Identity'.split(/\s+/))

/** Constants up to so many numbers are told apart by what they hold. */
const SMALL = 64

/** Beyond, an index is known by its name alone. */
const DEPTH = 200

export class IndexSources {
  private readonly known = new Map<Value, number>()
  private readonly numbers = new Map<string, number>()

  isSame(one: Value, other: Value): boolean {
    return one === other || this.of(one) === this.of(other)
  }

  /** The same number for values that hold the same numbers. */
  of(value: Value, depth = DEPTH): number {
    const known = this.known.get(value)
    if (known !== undefined) return known
    const found = this.find(value, depth)
    this.known.set(value, found)
    return found
  }

  private find(value: Value, depth: number): number {
    const { producer, constant } = value
    if (constant) return this.numberOf(constantKey(value))
    const handed = producer && depth > 0 && handedOn(producer)
    if (handed) return this.of(handed, depth - 1)
    if (!producer || depth === 0 || producer.op.startsWith('Random'))
      return this.numberOf(`value ${value.name}`)
    const attributes = [...producer.attributes].map(([name, each]) => `${name}=${textOf(each)}`)
    if (attributes.some((each) => each.endsWith('=?'))) return this.numberOf(`value ${value.name}`)
    const inputs = producer.inputs.map((each) => (each ? this.of(each, depth - 1) : ''))
    const { domain, op, outputs } = producer
    const place = outputs.indexOf(value)
    return this.numberOf([domain, op, place, inputs, attributes.sort()].join(' '))
  }

  private numberOf(key: string): number {
    const known = this.numbers.get(key) ?? this.numbers.size
    this.numbers.set(key, known)
    return known
  }
}

/** The value whose numbers a node hands on: also behind the guard that counts negative ones from the end. */
function handedOn({ op, domain, inputs }: Node): Value | undefined {
  if (domain !== '') return undefined
  if (sameNumbers.has(op)) return inputs[0]
  const [condition, wrapped, plain] = inputs
  const isGuard =
    op === 'Where' &&
    plain !== undefined &&
    condition?.producer?.op === 'Less' &&
    condition.producer.inputs[0] === plain &&
    wrapped?.producer?.op === 'Add' &&
    wrapped.producer.inputs.includes(plain)
  return isGuard ? plain : undefined
}

function constantKey({ constant, name }: Value): string {
  const tensor =
    constant && elementCount(constant.dims) <= SMALL ? fromConstant(constant) : undefined
  // Shapes don't count: a scalar index and one of a single row pick the same member.
  return tensor ? `numbers ${tensor.dataType} ${numbersOf(tensor).join()}` : `value ${name}`
}

function textOf(attribute: Attribute): string {
  if (attribute.kind === 'int' || attribute.kind === 'float') return String(attribute.value)
  if (attribute.kind === 'ints' || attribute.kind === 'floats') return attribute.value.join()
  if (attribute.kind === 'string') return new TextDecoder('latin1').decode(attribute.value)
  return '?'
}
