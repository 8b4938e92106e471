/**
 * A batch in two runs of a model that holds both ways, without a cache and with one: all tokens but the last, then the
 * last after what the first run left. So the branch with a cache runs on what it would be fed, however its caches look.
 */
import type { Model } from '../graph/graph.js'
import { findCacheBranch, findCarry } from '../model/cache-branch.js'
import type { RuntimeTensor } from '../onnx/numbers.js'
import { tensorOf } from '../onnx/numbers.js'
import type { Feeds, Port } from '../runtime/session.js'
import { type Batch, isCachePort } from './batch.js'
import { portsOf } from './open-data.js'
import { tokenRole } from './token-input.js'

export interface Continuation {
  /** The batch without its last token. */
  before(batch: Batch): Batch
  /** Its last token after `results` of that. */
  after(batch: Batch, results: Feeds): Batch
}

/** Undefined for a model of one way. */
export function findContinuation(model: Model): Continuation | undefined {
  const found = findCacheBranch(model.graph)
  if (!found) return undefined
  const { choice } = found
  const carry = new Map([...findCarry(model.graph)].map(([output, input]) => [input, output]))
  const ports = portsOf(model)
  const tokens = ports.find(isTokens)
  const own = tokens ? ports.filter((port) => isOfTokens(port, tokens, ports)) : []
  const change = (
    { feeds }: Batch,
    each: (port: Port, fed: RuntimeTensor) => RuntimeTensor | undefined,
  ): Batch => {
    const changed = ports.flatMap((port): [string, RuntimeTensor][] => {
      const fed = feeds[port.name]
      return fed ? [[port.name, each(port, fed) ?? fed]] : []
    })
    return { feeds: Object.fromEntries(changed), tokenMask: undefined, ids: [] }
  }
  return {
    before: (batch) =>
      change(batch, (port, fed) =>
        own.includes(port) ? columns(fed, 0, Math.max(1, lengthOf(fed) - 1)) : undefined,
      ),
    after: (batch, results) =>
      change(batch, (port, fed) => {
        if (port.name === choice?.input.name)
          return tensorOf('bool', fed.dims, [1 - choice.atStart])
        const state = results[carry.get(port.name) ?? '']
        if (state || !own.includes(port)) return state
        const length = lengthOf(fed)
        if (tokenRole(port.name) !== 'mask') return columns(fed, length - 1, length)
        // A mask covers the cache too; after a single token the same one comes again.
        return length > 1 ? fed : columns(fed, 0, 1, 2)
      }),
  }
}

const lengthOf = ({ dims }: RuntimeTensor): number => dims[1] ?? 1

const isTokens = ({ name, dims, dataType }: Port): boolean =>
  dims.length === 2 && dataType.startsWith('int') && tokenRole(name) === 'ids'

/** Whether an input has a column for each token; a mask may have its own name for that, but not an encoder's. */
function isOfTokens(port: Port, tokens: Port, ports: readonly Port[]): boolean {
  const [, length] = port.dims
  if (port.dims.length < 2 || isCachePort(port) || typeof length === 'number') return false
  if (length === tokens.dims[1]) return true
  const isOfOthers = ports.some(
    (each) => each.dims.length === 3 && !isCachePort(each) && each.dims[1] === length,
  )
  return tokenRole(port.name) === 'mask' && port.dims.length === 2 && !isOfOthers
}

/** Columns [from, to) of [rows, columns, …], so many times. */
function columns(
  { dims, dataType, data }: RuntimeTensor,
  from: number,
  to: number,
  times = 1,
): RuntimeTensor {
  const [rows = 0, length = 0, ...rest] = dims
  const each = rest.reduce((product, size) => product * size, 1)
  const part = Array.from({ length: rows }, (_, row) => {
    const at = row * length * each
    const cut = [...(data.slice(at + from * each, at + to * each) as Iterable<number | bigint>)]
    return Array.from({ length: times }, () => cut).flat()
  })
  const Type = data.constructor as new (numbers: readonly (number | bigint)[]) => typeof data
  return { dataType, dims: [rows, (to - from) * times, ...rest], data: new Type(part.flat()) }
}
