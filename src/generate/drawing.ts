/**
 * The model that makes up text: its tokens drawn inside the graph, for as many windows together as
 * there is room for.
 */
import { AttncError } from '../errors.js'
import { edit } from '../graph/edit.js'
import type { Model } from '../graph/graph.js'
import { loadFrom } from '../model-folder/load.js'
import { bitsPerElement } from '../onnx/data-type.js'
import { elementCount } from '../onnx/tensor.js'
import { lighten } from '../rewrite/lighten.js'
import { roomOf } from '../runtime/free-memory.js'
import { findAddon } from '../runtime/native/library.js'
import { chooseGenerator } from './choose-model.js'
import { drawInGraph } from './draw.js'
import { fixCache } from './fixed-cache.js'
import { halveStates } from './half-states.js'
import { type LanguagePorts, readLanguagePorts } from './language-ports.js'
import type { ReciteOptions } from './recite-options.js'
import { cacheSizes } from './step-feeds.js'

export interface Drawing {
  readonly model: Model
  readonly ports: LanguagePorts
  /** Windows that run together. */
  readonly rows: number
  readonly isFixed: boolean
}

/** Windows that run together at most: a processor gains nothing by more, a GPU has as much to do with few. */
const onProcessor = 16
const together = { moved: 2048, fixed: 4096 }
/**
 * A cache is there before and after a step, and an exported graph repeats and turns it in between;
 * or it stays where it is.
 */
const copiesOfCache = { moved: 4, fixed: 1 }

/** As every model can. Errors: ENCODER_TEXT, those of ports. */
export function prepareDrawing(options: ReciteOptions): Drawing {
  const { model, ports } = readDecoder(options)
  const rows = windowsTogether(options, ports, 'moved')
  drawInGraph(model, ports, options.seed)
  return { model, ports, rows, isFixed: false }
}

/** With a cache that stays in its place; undefined where it can't. Errors: ENCODER_TEXT, those of ports. */
export function prepareFixedDrawing(options: ReciteOptions): Drawing | undefined {
  // Sessions of onnxruntime-node have no tensors that stay where they are.
  if (!findAddon()) return undefined
  const { model, ports } = readDecoder(options)
  const rows = windowsTogether(options, ports, 'fixed')
  const fixed = fixCache(model, ports, { rows, length: options.length })
  if (!fixed) return undefined
  drawInGraph(model, fixed, options.seed, true)
  return { model, ports: fixed, rows, isFixed: true }
}

/** The model of the folder that generates, made lighter; a GPU keeps its cache in half precision. */
function readDecoder({
  source,
  provider,
  single,
}: ReciteOptions): Pick<Drawing, 'model' | 'ports'> {
  const { location, file } = chooseGenerator(source, single === true)
  const { model } = loadFrom(location, file)
  const ports = readLanguagePorts(model)
  if (ports.encoderIds)
    throw new AttncError(
      'ENCODER_TEXT',
      'usage',
      'A model with an encoder answers to texts and makes up none by itself.',
      { suggestions: ['Give data: .txt or .jsonl.'] },
    )
  edit(model.graph, 'attnc.lighten', lighten)
  return { model, ports: provider === 'cuda' ? halveStates(model, ports) : ports }
}

/** As many as the model states, or as there is room for the caches of. */
function windowsTogether(
  { windows, length, provider = 'cpu', vocabulary = 0 }: ReciteOptions,
  ports: LanguagePorts,
  cache: keyof typeof copiesOfCache,
): number {
  const [stated] = ports.ids.dims
  if (typeof stated === 'number') return stated
  const most = Math.min(windows, provider === 'cpu' ? onProcessor : together[cache])
  const room = provider === 'cpu' ? undefined : roomOf(provider, undefined)
  if (!room) return most
  const bytes = ports.states.reduce((sum, port) => {
    const count = elementCount(cacheSizes(ports, port, 1, length))
    return sum + (count * bitsPerElement(port.dataType)) / 8
  }, 0)
  const scores = 4 * vocabulary * Float32Array.BYTES_PER_ELEMENT
  const fitting = Math.max(1, Math.floor(room.bytes / (copiesOfCache[cache] * bytes + scores)))
  const rounds = Math.ceil(windows / Math.min(most, fitting))
  return Math.ceil(windows / rounds)
}
