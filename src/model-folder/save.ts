/**
 * Writes models as a folder of the layout they came from: graphs, weights beside them, configs and
 * tokenizer carried along. Streams: weights pass through two buffers, sliced while they pass.
 * The folder appears only when it is complete (output-folder.ts). A model whose source folder was
 * replaced (`force` over the input) cannot be read any more: its weights were there.
 */

import { createReadStream, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { describeBytes } from '../amounts.js'
import { assertLawful } from '../graph/check.js'
import { exportModel } from '../graph/export.js'
import { type Graph, innerGraphs, type Model } from '../graph/graph.js'
import { encodeModel } from '../onnx/codec.js'
import { readLocation } from '../onnx/external-data.js'
import { unreadable } from '../onnx/file-bytes.js'
import type { TensorMessage } from '../onnx/messages.js'
import type { Tensor } from '../onnx/tensor.js'
import { isExternal } from '../onnx/tensor-message.js'
import { makeFolder } from '../write-whole.js'
import { type ModelFolder, openModelFolder } from './model-folder.js'
import { diskFull } from './output-errors.js'
import { writeFolder } from './output-folder.js'
import { parsePythonJson, writePythonJson } from './python-json.js'
import { StreamWriter, type WriteWatch } from './stream-writer.js'
import { WeightsFile } from './weights-file.js'

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json }

/** What a new folder holds, and where it comes from. */
export interface SaveOptions {
  /** Models by their file name in the new folder, for instance `model.onnx` or `onnx/model.onnx`. */
  readonly models: Readonly<Record<string, Model>>
  /** Where configs and tokenizer are; nothing is carried along when absent. */
  readonly from?: string | ModelFolder | undefined
  readonly to: string
  readonly force?: boolean | undefined
  /** What a config of the source becomes; the same object leaves the file as it is. */
  readonly configEdit?: ((name: string, config: Json) => Json) | undefined
  /** More files: a plan, a report. */
  readonly files?: Readonly<Record<string, string | Uint8Array>> | undefined
  /** Files of the source that are not carried along. */
  readonly omit?: (name: string) => boolean
  readonly signal?: AbortSignal | undefined
  /** Bytes written and bytes expected. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/** What was written. */
export interface SavedFolder {
  readonly folder: string
  /** Names relative to the folder, and sizes in bytes. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[]
}

/** Weights of more than this go beside the model: ONNX Runtime refuses files over 2 GiB. */
const inlineLimitBytes = 1 << 30
/** Smaller tensors stay in the model: shapes and scalars are needed to read the graph. */
const externalFromBytes = 1024

/** Writes `models` to the folder `to`. Throws named errors and leaves nothing behind when it fails. */
export async function saveModelFolder(options: SaveOptions): Promise<SavedFolder> {
  const { to, signal } = options
  for (const [file, model] of Object.entries(options.models)) assertLawful(model, `"${file}"`)
  const from = typeof options.from === 'string' ? openModelFolder(options.from) : options.from
  const plans = Object.entries(options.models).map(([file, model]) => planModel(file, model))
  const sidecars = (from?.sidecars ?? []).filter(
    (name) => !options.files?.[name] && !options.omit?.(name),
  )
  const more = Object.entries(options.files ?? {}).map(
    ([name, content]) => [name, Buffer.from(content as Uint8Array)] as const,
  )
  const total =
    plans.reduce((sum, plan) => sum + plan.bytes, 0) +
    sidecars.reduce((sum, name) => sum + fileSize(join(from?.folder ?? '', name)), 0) +
    more.reduce((sum, [, content]) => sum + content.length, 0)
  let done = 0
  const watch: WriteWatch = {
    signal,
    onBytes: (count) => {
      done += count
      options.onProgress?.(Math.min(done, total), total)
    },
  }
  return await writeFolder(
    to,
    { force: options.force, from: from?.folder, signal },
    async (folder) => {
      await checkSpace(folder, to, total)
      const names = await writeModels(plans, folder, watch)
      for (const name of sidecars)
        await carry(from?.folder ?? '', name, folder, options.configEdit, watch)
      for (const [name, content] of more) await writeFile(join(folder, name), content, watch)
      names.push(...sidecars, ...more.map(([name]) => name))
      const files = names.map((name) => ({ name, bytes: fileSize(join(folder, name)) }))
      options.onProgress?.(total, total)
      return { folder: to, files }
    },
  )
}

interface ModelPlan {
  readonly file: string
  readonly model: Model
  /** Tensors that go to `weights`, which is a name relative to the model file. */
  readonly external: ReadonlySet<Tensor>
  readonly weights: string
  readonly bytes: number
}

function planModel(file: string, model: Model): ModelPlan {
  const tensors = new Set<Tensor>()
  for (const graph of allGraphs(model.graph))
    for (const { constant, producer } of graph.values.values())
      if (constant && (!producer || producer.attributes.get('value')?.kind === 'tensor'))
        tensors.add(constant)
  const bytes = [...tensors].reduce((sum, tensor) => sum + tensor.byteLength, 0)
  const bytesByLocation = sourceLocations(model)
  const external = new Set<Tensor>()
  if (bytesByLocation.size > 0 || bytes > inlineLimitBytes)
    for (const tensor of tensors) {
      const wasInside =
        bytes <= inlineLimitBytes &&
        tensor.message !== undefined &&
        !isExternal(tensor.message as TensorMessage)
      if (!tensor.strings && tensor.byteLength >= externalFromBytes && !wasInside)
        external.add(tensor)
    }
  // The file that held most: models that shared it go on sharing it.
  const [largest] = [...bytesByLocation].sort((one, other) => other[1] - one[1])
  const weights = largest?.[0] ?? `${basename(file)}.data`
  return { file, model, external, weights, bytes }
}

/** Files of external data of the model as it was read, with the bytes that lie in each. */
function sourceLocations(model: Model): Map<string, number> {
  const bytes = new Map<string, number>()
  const messages = (
    model.message as { graph?: { initializer?: readonly TensorMessage[] } } | undefined
  )?.graph?.initializer
  for (const message of messages ?? []) {
    if (!isExternal(message)) continue
    const { location, length } = readLocation(message)
    bytes.set(location, (bytes.get(location) ?? 0) + (length ?? 1))
  }
  return bytes
}

function* allGraphs(graph: Graph): IterableIterator<Graph> {
  yield graph
  for (const node of graph.nodes()) for (const inner of innerGraphs(node)) yield* allGraphs(inner)
}

/** Writes weights first, as the messages state where they lie. Returns the names of the files. */
async function writeModels(
  plans: readonly ModelPlan[],
  folder: string,
  watch: WriteWatch,
): Promise<string[]> {
  const names: string[] = []
  const byWeights = new Map<string, ModelPlan[]>()
  for (const plan of plans) {
    const name = join(dirname(plan.file), plan.weights)
    byWeights.set(name, [...(byWeights.get(name) ?? []), plan])
  }
  for (const [name, sharing] of byWeights) {
    const bytes = sharing.reduce((sum, plan) => sum + plan.bytes, 0)
    const hasWeights = sharing.some((plan) => plan.external.size > 0)
    const weights = hasWeights ? await newFile(join(folder, name), watch, bytes) : undefined
    await using _closing = weights
    const file = weights && new WeightsFile(weights, sharing.length > 1)
    if (file) for (const plan of sharing) for (const tensor of plan.external) await file.add(tensor)
    await weights?.finish()
    if (weights) names.push(name)
    for (const plan of sharing) {
      const message = exportModel(plan.model, {
        place: (tensor) => {
          const offset = plan.external.has(tensor) ? file?.offsetOf(tensor) : undefined
          return offset === undefined ? undefined : { location: plan.weights, offset }
        },
      })
      const encoded = encodeModel(message)
      await using writer = await newFile(join(folder, plan.file), watch, encoded.byteLength)
      for (const piece of encoded.pieces())
        if (piece instanceof Uint8Array) await writer.append(piece)
        else await writer.appendSource(piece)
      await writer.finish()
      names.push(plan.file)
    }
  }
  return names
}

/** Copies a file of the source folder; configs pass through `edit`. */
async function carry(
  source: string,
  name: string,
  folder: string,
  edit: SaveOptions['configEdit'],
  watch: WriteWatch,
): Promise<void> {
  const parts: Buffer[] = []
  const isConfig = edit !== undefined && /config.*\.json$/i.test(name)
  const target = join(folder, name)
  try {
    await using writer = isConfig
      ? undefined
      : await newFile(target, watch, fileSize(join(source, name)))
    for await (const chunk of createReadStream(join(source, name)))
      if (writer) await writer.append(chunk as Buffer)
      else parts.push(chunk as Buffer)
    await writer?.finish()
  } catch (error) {
    throw (error as NodeJS.ErrnoException).syscall === 'open'
      ? unreadable(join(source, name), error)
      : error
  }
  if (isConfig) await writeFile(target, editConfig(name, Buffer.concat(parts), edit), watch)
}

/** The file's own bytes where the edit changes nothing or there is no JSON to edit. */
function editConfig(
  name: string,
  bytes: Buffer,
  edit: (name: string, config: Json) => Json,
): Uint8Array {
  let before: Json
  try {
    before = parsePythonJson(bytes.toString('utf8')) as Json
  } catch {
    return bytes
  }
  const after = edit(name, before)
  if (after === before) return bytes
  const indent = /\n([ \t]+)"/.exec(bytes.toString('utf8'))?.[1] ?? '  '
  return Buffer.from(`${writePythonJson(after, indent)}\n`)
}

async function writeFile(path: string, bytes: Uint8Array, watch: WriteWatch): Promise<void> {
  await using writer = await newFile(path, watch, bytes.length)
  await writer.append(bytes)
  await writer.finish()
}

async function newFile(path: string, watch: WriteWatch, bytes: number): Promise<StreamWriter> {
  makeFolder(dirname(path))
  return await StreamWriter.create(path, watch, bytes)
}

async function checkSpace(folder: string, to: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  if (bytes > free)
    throw diskFull(
      to,
      `${describeBytes(bytes)} are needed and ${describeBytes(free)} are free on that disk`,
    )
}

const fileSize = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0
