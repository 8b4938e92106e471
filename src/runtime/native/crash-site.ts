/**
 * Which node of a model ONNX Runtime crashes on: the file is opened, and run, up to half of its
 * nodes and half of the rest and so on, each time in a process of its own, which may crash. What is
 * tried is the message as it was: read into a graph and written again, some mistakes are gone. Time
 * is short: a process that had a crash itself is made to end soon (addon/crash.cpp).
 */
import { copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, sep } from 'node:path'
import { encodeModel, toBytes } from '../../onnx/codec.js'
import { readLocation } from '../../onnx/external-data.js'
import type { ModelMessage, NodeMessage } from '../../onnx/messages.js'
import { readModelFile } from '../../onnx/model-file.js'
import type { Feeds } from '../session.js'
import { forkModule } from '../source-loader.js'

const MOST_MS = 25_000
/** Larger files are not written again and again. */
const MOST_BYTES = 256 << 20

/** What is tried in a process. `feeds` are missing where the model crashed before it ran. */
export interface CrashTrial {
  readonly path: string
  readonly feeds: Feeds | undefined
}

/**
 * In the words of an error: `node "x" (Max)`. Undefined where it doesn't crash again, or finding
 * out takes too long.
 */
export async function findCrashSite(
  path: string,
  feeds: Feeds | undefined,
  mostMs = MOST_MS,
): Promise<string | undefined> {
  const end = performance.now() + mostMs
  const { message, stamp } = readModelFile(path)
  const nodes = message.graph?.node ?? []
  if (stamp.size > MOST_BYTES || !(await crashes({ path, feeds }, end))) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'attnc-crash-'))
  try {
    linkData(message, dirname(path), folder)
    const trial = { path: join(folder, 'model.onnx'), feeds }
    // The first `fewest` nodes do without a crash, the first `most` don't.
    let [fewest, most] = [0, nodes.length]
    while (most - fewest > 1) {
      const middle = Math.floor((fewest + most) / 2)
      writeFileSync(trial.path, toBytes(encodeModel(upTo(message, middle))))
      if (await crashes(trial, end)) most = middle
      else fewest = middle
      if (performance.now() > end) return undefined
    }
    return nodes[most - 1] && describe(nodes[most - 1] as NodeMessage)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const describe = ({ name, op_type: op = '', domain, output = [] }: NodeMessage): string =>
  `node "${name || `${op} → ${output.find(Boolean) ?? ''}`}" (${domain ? `${domain}.` : ''}${op})`

/** The first nodes alone; what they make and don't read themselves are its outputs. */
function upTo(message: ModelMessage, count: number): ModelMessage {
  const { graph = {} } = message
  const node = (graph.node ?? []).slice(0, count)
  const read = new Set(node.flatMap(({ input = [] }) => input))
  const asked = graph.output ?? []
  const made = node.flatMap(({ output = [] }) => output.filter(Boolean))
  const output = made.flatMap((name) => {
    const stated = asked.find((each) => each.name === name)
    return stated ? [stated] : read.has(name) ? [] : [{ name }]
  })
  return { ...message, graph: { ...graph, node, output } }
}

/** Files of weights lie beside what is tried under the names that the message has for them. */
function linkData({ graph }: ModelMessage, from: string, to: string): void {
  const stored = (graph?.initializer ?? []).filter(({ data_location: place }) => place === 1)
  for (const location of new Set(stored.map((tensor) => readLocation(tensor).location))) {
    const target = join(to, location)
    if (!target.startsWith(to + sep)) throw new Error(`"${location}" leads out of the folder`)
    mkdirSync(dirname(target), { recursive: true })
    try {
      linkSync(join(from, location), target)
    } catch {
      copyFileSync(join(from, location), target)
    }
  }
}

async function crashes(trial: CrashTrial, end: number): Promise<boolean> {
  const child = forkModule('./crash-trial', import.meta.url)
  const late = setTimeout(() => child.kill('SIGKILL'), Math.max(0, end - performance.now()))
  try {
    return await new Promise<boolean>((resolve) => {
      child.once('exit', (_, signal) => resolve(signal !== null && signal !== 'SIGKILL'))
      child.once('error', () => resolve(false))
      child.send(trial)
    })
  } finally {
    clearTimeout(late)
  }
}
