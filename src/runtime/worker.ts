/**
 * The thread that owns a session: ONNX Runtime blocks the thread that calls it, so that thread is
 * not the one with the progress bar and Ctrl-C. One message in, one message out.
 */
import { parentPort } from 'node:worker_threads'
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import type { DataType } from '../onnx/data-type.js'
import type { RuntimeTensor, TypedArray } from '../onnx/numbers.js'

export type Request =
  | { readonly id: number; readonly kind: 'open'; readonly path: string; readonly options: object }
  | {
      readonly id: number
      readonly kind: 'run'
      readonly feeds: Readonly<Record<string, RuntimeTensor>>
      readonly fetches: readonly string[] | undefined
      /** Outputs that stay in this thread and are the inputs of that name in the next run. */
      readonly carry: Readonly<Record<string, string>> | undefined
      /** Of those that stay, the ones that are sent as well. */
      readonly copies: readonly string[] | undefined
    }
  | { readonly id: number; readonly kind: 'close' }

/** An input or output of a model as ONNX Runtime declares it. */
export interface Port {
  readonly name: string
  readonly dataType: DataType
  readonly dims: readonly (number | string)[]
  /** Of an input that numbers rows of others: how many there are, or the name of that size. */
  readonly rows?: number | string
  /** Of a switch between branches: what it says where there is no cache yet; 0 where nothing is said. */
  readonly atStart?: number
  /** Of an input that chooses rows of a table that the model holds: how many there are. */
  readonly choices?: number
  /** Whether it says with zeros and ones what is hidden. */
  readonly isMask?: boolean
  /** How many of its rows are a sample's, where that is not one: one for each codebook. */
  readonly perSample?: number
}

export type Reply =
  | { readonly id: number; readonly error: string }
  | { readonly id: number; readonly inputs: readonly Port[]; readonly outputs: readonly Port[] }
  | {
      readonly id: number
      readonly results: Readonly<Record<string, RuntimeTensor>>
      readonly runMs: number
    }
  | { readonly id: number }

const runtime = await import('onnxruntime-node')
let session: InferenceSession | undefined
let carried: Record<string, Tensor> = {}

const ports = (metadata: readonly InferenceSession.ValueMetadata[]): Port[] =>
  metadata.map((each) => ({
    name: each.name,
    dataType: (each.isTensor ? each.type : 'float32') as DataType,
    dims: each.isTensor ? [...each.shape] : [],
  }))

async function answer(request: Request): Promise<Reply> {
  const { id } = request
  if (request.kind === 'open') {
    session = await runtime.InferenceSession.create(request.path, request.options)
    return { id, inputs: ports(session.inputMetadata), outputs: ports(session.outputMetadata) }
  }
  if (request.kind === 'close') {
    await session?.release()
    session = undefined
    carried = {}
    return { id }
  }
  if (!session) throw new Error('the session is not open')
  const given = Object.fromEntries(
    Object.entries(request.feeds).map(([name, { dataType, data, dims }]) => [
      name,
      new runtime.Tensor(dataType as 'float32', data as Float32Array, [...dims]),
    ]),
  )
  const feeds = request.carry ? { ...carried, ...given } : given
  const started = performance.now()
  const results = request.fetches
    ? await session.run(feeds, [...request.fetches])
    : await session.run(feeds)
  const runMs = performance.now() - started
  carried = {}
  const kept = request.carry ?? {}
  for (const [output, input] of Object.entries(kept)) carried[input] = results[output] as Tensor
  const isCopied = (name: string): boolean => request.copies?.includes(name) ?? false
  const leaving = Object.entries(results).filter(([name]) => !kept[name] || isCopied(name))
  const exchanged = leaving.map(([name, each]): [string, RuntimeTensor] => {
    // What is sent leaves this thread for good, so what stays too is sent as a copy.
    const data = (kept[name] ? each.data.slice() : each.data) as TypedArray
    return [name, { dataType: each.type as DataType, dims: [...each.dims], data }]
  })
  return { id, results: Object.fromEntries(exchanged), runMs }
}

async function reply(request: Request): Promise<void> {
  let message: Reply
  try {
    message = await answer(request)
  } catch (error) {
    message = { id: request.id, error: error instanceof Error ? error.message : String(error) }
  }
  const results = 'results' in message ? Object.values(message.results) : []
  const buffers = new Set(results.map(({ data }) => data.buffer as ArrayBuffer))
  parentPort?.postMessage(message, [...buffers])
}

parentPort?.on('message', (request: Request) => {
  void reply(request)
})
