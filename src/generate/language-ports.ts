/**
 * The inputs and outputs of a language model by what they are for: what a host feeds token by token,
 * what it reads, and what it hands on from one step to the next.
 */
import { portsOf } from '../data/open-data.js'
import { tokenRole } from '../data/token-input.js'
import { AttncError } from '../errors.js'
import type { Model, Value } from '../graph/graph.js'
import type { Port } from '../runtime/session.js'
import { findStates } from './states.js'

/** What a number of one element, or a row of positions, says of the cache. */
export type Counter = 'past' | 'total' | 'last'

export interface LanguagePorts {
  /** Tokens to be continued, [batch, sequence]; the decoder's where there is an encoder. */
  readonly ids: Port
  /** What the encoder reads: the prompt, the same in every step. */
  readonly encoderIds: Port | undefined
  readonly masks: readonly Port[]
  readonly positions: readonly Port[]
  readonly segments: readonly Port[]
  readonly counters: readonly { readonly port: Port; readonly says: Counter }[]
  /** True where there is a past: the switch of models that hold both ways. */
  readonly switches: readonly Port[]
  readonly states: readonly Port[]
  /** Output → input of the next step. */
  readonly carry: Readonly<Record<string, string>>
  /** [batch, sequence, vocabulary]. */
  readonly logits: Port
}

/** Errors: NO_LOGITS, NO_TOKENS, INPUT_UNKNOWN. */
export function readLanguagePorts(model: Model): LanguagePorts {
  const inputs = portsOf(model)
  const pairs = findStates(model)
  const logits = findLogits(model, new Set(pairs.map(({ output }) => output)))
  const carry = Object.fromEntries(pairs.map(({ input, output }) => [output.name, input.name]))
  const carried = new Set(Object.values(carry))
  const isWhole = ({ dataType }: Port): boolean => dataType.startsWith('int')
  const rest = inputs.filter(({ name }) => !carried.has(name))
  const rows = rest.filter((port) => port.dims.length === 2 && isWhole(port))
  const byRole = (role: string): Port[] => rows.filter(({ name }) => tokenRole(name) === role)
  const [first, second, third] = byRole('ids')
  if (!first || third) throw noTokens(inputs)
  const [ids, encoderIds] = second ? decoderFirst(first, second, logits) : [first, undefined]
  const positions = rest.filter(
    (port) => isWhole(port) && tokenRole(port.name) === 'positions' && port.dims.length !== 0,
  )
  const counters = rest.flatMap((port) => {
    const says = counts(port, model.graph.values.get(port.name) as Value)
    return says && !positions.includes(port) ? [{ port, says }] : []
  })
  const switches = rest.filter(({ dataType, dims }) => dataType === 'bool' && dims.length <= 1)
  const known = new Set([...rows, ...positions, ...counters.map(({ port }) => port), ...switches])
  const unknown = rest.find((port) => !known.has(port))
  if (unknown) throw unknownInput(unknown)
  return {
    ids,
    encoderIds,
    masks: byRole('mask'),
    positions,
    segments: byRole('segments'),
    counters,
    switches,
    states: inputs.filter(({ name }) => carried.has(name)),
    carry,
    logits,
  }
}

/** The output of three axes whose last is not a state's: scores of every token of the vocabulary. */
function findLogits(model: Model, carried: ReadonlySet<Value>): Port {
  const found = model.graph.outputs.find(
    (each) =>
      each.type?.dims?.length === 3 &&
      each.type.dataType?.startsWith('float') &&
      !carried.has(each),
  )
  if (!found)
    throw new AttncError(
      'NO_LOGITS',
      'usage',
      `A language model has an output [batch, sequence, vocabulary]; this one has ${
        model.graph.outputs
          .slice(0, 4)
          .map(({ name, type }) => `"${name}" [${type?.dims ?? '?'}]`)
          .join(', ') || 'none'
      }.`,
      { suggestions: ['Give the model with the language head, as exported for text generation.'] },
    )
  return {
    name: found.name,
    dataType: found.type?.dataType ?? 'float32',
    dims: (found.type?.dims ?? []).map((dim) => (typeof dim === 'number' ? dim : (dim ?? ''))),
  }
}

/** The decoder's tokens are as many as the scores; where sizes don't tell, hosts call them so. */
function decoderFirst(one: Port, other: Port, logits: Port): [Port, Port] {
  const isLong = ({ dims }: Port): boolean => dims[1] !== '' && dims[1] === logits.dims[1]
  const isDecoder = isLong(one) === isLong(other) ? /decoder/i.test(one.name) : isLong(one)
  return isDecoder ? [one, other] : [other, one]
}

/** Counters by the slot of the fused operator that reads them, else by the names hosts use. */
function counts({ name, dims, dataType }: Port, value: Value): Counter | undefined {
  if (dims.length > 1 || !dataType.startsWith('int')) return undefined
  for (const { node, index } of value.uses)
    if (node.op === 'GroupQueryAttention')
      return index === 5 ? 'last' : index === 6 ? 'total' : undefined
  if (/past/i.test(name)) return 'past'
  if (/total/i.test(name)) return 'total'
  return /seqlens?_k/i.test(name) ? 'last' : undefined
}

const noTokens = (inputs: readonly Port[]): AttncError =>
  new AttncError(
    'NO_TOKENS',
    'usage',
    `A language model takes tokens as whole numbers [batch, sequence]; this one takes ${inputs
      .slice(0, 4)
      .map(({ name, dataType, dims }) => `"${name}" ${dataType} [${dims}]`)
      .join(', ')}.`,
    { suggestions: ['Text can only be generated by a model that reads and scores tokens.'] },
  )

const unknownInput = ({ name, dataType, dims }: Port): AttncError =>
  new AttncError(
    'INPUT_UNKNOWN',
    'usage',
    `Input "${name}" (${dataType} [${dims}]) is neither tokens nor a cache that an output continues.`,
    {
      suggestions: [
        'A decoder that was split from its encoder, or from its embedding, can only run together with it: export both as one model.',
      ],
    },
  )
