/**
 * What ONNX Runtime says when a run fails, as an error that names the node and, where memory was
 * short, how much of it.
 */
import { describeBytes } from '../amounts.js'
import { AttncError } from '../errors.js'
import { roomOf } from './free-memory.js'
import type { ProviderName } from './provider.js'

/** Its words around the words that matter: a place in its sources and the function that was in it. */
const wrapped =
  /running (\S+) node\. Name:'(.*?)' Status Message: (?:\S+:\d+ [^(]+\(.*?\) )?(?:\[with [^\]]*\] )?(.*)/s
const refused = /allocate memory for requested buffer of size (\d+)|requested bytes of (\d+)/i
const exhausted = /bad_alloc|out of memory|cudaErrorMemoryAllocation/i

/** Errors: TOO_LITTLE_MEMORY, RUN_FAILED. */
export function explainFailure(cause: unknown, provider: ProviderName): AttncError {
  const text = cause instanceof Error ? cause.message : String(cause)
  const [, op, name, said] = wrapped.exec(text) ?? []
  const at = op === undefined ? '' : ` at node "${name}" (${op})`
  const bytes = refused.exec(text)
  if (bytes || exhausted.test(text)) {
    const room = roomOf(provider, undefined, 1)
    const free = room ? `; ${describeBytes(room.bytes)} are free` : ''
    const wanted = bytes ? `${describeBytes(Number(bytes[1] ?? bytes[2]))} more` : 'more memory'
    return new AttncError(
      'TOO_LITTLE_MEMORY',
      'runtime',
      `ONNX Runtime asked for ${wanted}${at} and did not get it${free}.`,
      {
        cause,
        suggestions: ['Run less at once: fewer rows (--batch-size) or tokens (--sequence-length).'],
      },
    )
  }
  return new AttncError(
    'RUN_FAILED',
    'runtime',
    `ONNX Runtime stopped${at}: ${(said ?? text).trim()}`,
    {
      cause,
      suggestions: [
        /indices element out of (data )?bounds/.test(text)
          ? 'The data number a row that a table of the model lacks: look at the ids in them.'
          : 'Sizes may not fit the model: try fewer tokens (--sequence-length) or other data; "attnc verify" says whether it runs at all.',
      ],
    },
  )
}
