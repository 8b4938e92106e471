/** The model that makes up text: its tokens drawn inside the graph, for as many windows together as there is room for. */
import { AttncError } from '../errors.js'
import { edit } from '../graph/edit.js'
import type { Model } from '../graph/graph.js'
import { loadFrom } from '../model-folder/load.js'
import { bitsPerElement } from '../onnx/data-type.js'
import { elementCount } from '../onnx/tensor.js'
import { lighten } from '../rewrite/lighten.js'
import { roomOf } from '../runtime/free-memory.js'
import { chooseGenerator } from './choose-model.js'
import { drawInGraph } from './draw.js'
import { fixCache } from './fixed-cache.js'
import { halveStates } from './half-states.js'
import { type LanguagePorts, readLanguagePorts } from './language-ports.js'
import type { ReciteOptions } from './recite.js'
import { cacheSizes } from './step-feeds.js'

export interface Drawing {
  readonly model: Model
  readonly ports: LanguagePorts
  /** Windows that run together. */
  readonly rows: number
  readonly isFixed: boolean
}

/** Windows that run together at most: a processor gains nothing by more, a GPU has as much to do with few. */
const together = { cpu: 16, gpu: 2048, fixed: 4096 }
/** A cache is there before and after a step, and an exported graph repeats and turns it in between. */
const copiesOfCache = { moved: 4, fixed: 1 }

/** undefined where the cache shall stay in its place and can't. Errors: ENCODER_TEXT, those of ports. */
export function prepareDrawing(options: ReciteOptions, isFixed: boolean): Drawing | undefined {
  const { source, length, seed, provider, single } = options
  const { location, file } = chooseGenerator(source, single === true)
  const { model } = loadFrom(location, file)
  const own = readLanguagePorts(model)
  if (own.encoderIds)
    throw new AttncError(
      'ENCODER_TEXT',
      'usage',
      'A model with an encoder answers to texts and makes up none by itself.',
      { suggestions: ['Give data: .txt or .jsonl.'] },
    )
  edit(model.graph, 'attnc.lighten', lighten)
  const open = provider === 'cuda' ? halveStates(model, own) : own
  const [stated] = open.ids.dims
  const rows = typeof stated === 'number' ? stated : windowsTogether(options, open, isFixed)
  const ports = isFixed ? fixCache(model, open, { rows, length }) : open
  if (!ports) return undefined
  drawInGraph(model, ports, seed, isFixed)
  return { model, ports, rows, isFixed }
}

/** As many as there is room for the caches of. */
function windowsTogether(
  { windows, length, provider = 'cpu', vocabulary = 0 }: ReciteOptions,
  ports: LanguagePorts,
  isFixed: boolean,
): number {
  const most = Math.min(windows, together[provider === 'cpu' ? 'cpu' : isFixed ? 'fixed' : 'gpu'])
  const room = provider === 'cpu' ? undefined : roomOf(provider, undefined)
  if (!room) return most
  const cache = ports.states.reduce((sum, port) => {
    const count = elementCount(cacheSizes(ports, port, 1, length))
    return sum + (count * bitsPerElement(port.dataType)) / 8
  }, 0)
  const scores = 4 * vocabulary * Float32Array.BYTES_PER_ELEMENT
  const copies = copiesOfCache[isFixed ? 'fixed' : 'moved']
  const fitting = Math.max(1, Math.floor(room.bytes / (copies * cache + scores)))
  const rounds = Math.ceil(windows / Math.min(most, fitting))
  return Math.ceil(windows / rounds)
}
