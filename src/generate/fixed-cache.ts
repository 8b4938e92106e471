/**
 * A decoder whose cache never moves. Exported models write the whole cache anew at every token, one
 * place longer, and every size changes with it. Here attention becomes an operator over memory for
 * all tokens there will be, which adds one token in place: no size changes, so that steps are
 * recorded and replayed (docs/decisions/022).
 */
import { edit, type GraphEdit } from '../graph/edit.js'
import type { Graph, Model } from '../graph/graph.js'
import { tensorOf, toConstant } from '../onnx/numbers.js'
import { fixSizes } from '../rewrite/fix-sizes.js'
import type { Port } from '../runtime/session.js'
import { placeCaches } from './cached-attention.js'
import type { LanguagePorts } from './language-ports.js'
import { cacheSizes, stepFeeds } from './step-feeds.js'

/** int32 [batch] input: tokens in the cache before this one. */
const LAST = 'attnc.cache/last'

export interface CacheSize {
  /** Texts that run together. */
  readonly rows: number
  /** Tokens that there is room for. */
  readonly length: number
}

/**
 * Changes the model, to one token of each row at a time; its ports afterwards. undefined where some cache is not simply
 * what attention over all of it reads: the model is of no use then. Masks are taken for those of texts that hide
 * nothing; `assertAsWhole` finds out.
 */
export function fixCache(
  model: Model,
  ports: LanguagePorts,
  size: CacheSize,
): LanguagePorts | undefined {
  const isOpen = [ports.ids, ...ports.states].every(({ dims }) => typeof dims[0] !== 'number')
  if (!isOpen || ports.states.length === 0 || ports.switches.length > 0) return undefined
  const { graph } = model
  model.opsets.set('com.microsoft', 1)
  return edit(graph, 'attnc.cache', (change) => {
    fixStep(change, ports, size)
    const last = change.addInput(LAST, 'int32', [size.rows])
    const carry = placeCaches(change, ports.carry, last, size.length)
    if (Object.keys(carry).length < ports.states.length) return undefined
    const read = (each: readonly Port[]): Port[] =>
      each.filter((port) => isRead(change, port)).map((port) => sized(graph, port))
    fixTotal(change, ports, size.length)
    const own: Port = { name: last.name, dataType: 'int32', dims: [size.rows] }
    const counters = [...ports.counters, { port: own, says: 'last' as const }]
    return {
      ...ports,
      ids: sized(graph, ports.ids),
      masks: read(ports.masks),
      positions: read(ports.positions),
      segments: read(ports.segments),
      counters: counters
        .filter(({ port }) => isRead(change, port))
        .map(({ port, says }) => ({ port: sized(graph, port), says })),
      states: read(ports.states),
      carry,
      logits: { ...ports.logits, dims: [size.rows, 1, ports.logits.dims[2] ?? ''] },
    }
  })
}

/** The sizes of the last step: the cache has room for no more tokens but this one. */
function fixStep(change: GraphEdit, ports: LanguagePorts, { rows, length }: CacheSize): void {
  const past = length - 1
  const tokens = Array.from({ length: rows }, () => [0])
  const sizes = new Map<string, readonly number[]>()
  for (const [name, { dims }] of Object.entries(stepFeeds(ports, tokens, past)))
    sizes.set(name, dims)
  for (const port of ports.states) sizes.set(port.name, cacheSizes(ports, port, rows, past))
  fixSizes(change, ({ name }) => sizes.get(name))
}

/** The operator asks on the host how many tokens there are at most: all that there is room for. */
function fixTotal(change: GraphEdit, { counters }: LanguagePorts, length: number): void {
  for (const { port, says } of counters) {
    const input = change.graph.values.get(port.name)
    if (says !== 'total' || !input || port.dims.length > 1) continue
    const dims = port.dims.map(() => 1)
    change.replaceUses(input, change.constant(toConstant(tensorOf(port.dataType, dims, [length]))))
  }
}

/** Masks are read by nobody once attention counts tokens itself: what nothing reads is no input any more. */
function isRead(change: GraphEdit, { name }: Port): boolean {
  const input = change.graph.values.get(name)
  if (!input || input.uses.size > 0) return true
  change.removeInput(input)
  return false
}

const sized = ({ values }: Graph, port: Port): Port => ({
  ...port,
  dims: values.get(port.name)?.type?.dims?.map((dim) => dim ?? '') ?? port.dims,
})
