/**
 * Load → slice → save of a large model against `cp` of the same files: time and peak memory.
 * Makes the model itself (layers of a 7B LLaMA in fp16, as many as fit the size asked for) in a temporary
 * folder and removes everything. Usage: npx tsx bench/stream-8gb.ts [gigabytes = 8] [rounds = 2]
 * The sliced model is smaller than the copied one, so the same run without a slice is measured too.
 * Cold means that the file was thrown out of the page cache before. Peak memory is the high-water mark
 * of the resident set (getrusage), which counts mapped pages; attnc maps no weights, it reads them.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { edit } from '../src/graph/edit.js'
import { loadModel } from '../src/model-folder/load.js'
import { saveModelFolder } from '../src/model-folder/save.js'
import { encodeModel, toBytes } from '../src/onnx/codec.js'
import { gatherAxis } from '../src/onnx/gather-axis.js'
import type { NodeMessage, TensorMessage } from '../src/onnx/messages.js'

const hidden = 4096
const feedForward = 11008
const vocabulary = 32000

/** Weights of one layer; the two axes that a slice of the feed-forward width cuts are named. */
const layerWeights: readonly (readonly [name: string, dims: number[], cutAxis?: number])[] = [
  ['q', [hidden, hidden]],
  ['k', [hidden, hidden]],
  ['v', [hidden, hidden]],
  ['o', [hidden, hidden]],
  ['gate', [hidden, feedForward], 1],
  ['up', [hidden, feedForward], 1],
  ['down', [feedForward, hidden], 0],
]

function makeModel(folder: string, gigabytes: number): number {
  const tensors: TensorMessage[] = []
  const nodes: NodeMessage[] = []
  const file = openSync(join(folder, 'model.onnx.data'), 'w')
  const block = new Uint8Array(1 << 20)
  let offset = 0
  let seed = 1
  const add = (name: string, dims: readonly number[]): void => {
    const bytes = dims.reduce((product, dim) => product * dim, 2)
    for (let at = 0; at < bytes; at += block.length) {
      // Different bytes everywhere: neither the disk nor sharing may find repeats.
      for (let i = 0; i < block.length; i += 512) block[i] = seed = (seed * 31 + 7) & 255
      block[0] = at >> 20
      writeSync(file, block, 0, Math.min(block.length, bytes - at))
    }
    tensors.push({
      name,
      dims: dims.map(BigInt),
      data_type: 10,
      data_location: 1,
      external_data: Object.entries({
        location: 'model.onnx.data',
        offset: String(offset),
        length: String(bytes),
      }).map(([key, value]) => ({ key, value })),
    })
    offset += bytes
  }
  add('embedding', [vocabulary, hidden])
  for (let layer = 0; offset < gigabytes * 2 ** 30 - 405e6; layer++)
    for (const [name, dims] of layerWeights) add(`layer.${layer}.${name}`, dims)
  closeSync(file)
  // The graph only has to hold the weights: nothing runs it here.
  for (const { name = '' } of tensors)
    nodes.push({ op_type: 'Identity', input: [name], output: [`${name}/out`], name })
  const output = nodes.at(-1)?.output?.[0] ?? ''
  const message = {
    ir_version: 10n,
    opset_import: [{ domain: '', version: 21n }],
    graph: { name: 'large', node: nodes, initializer: tensors, output: [{ name: output }] },
  }
  writeFileSync(join(folder, 'model.onnx'), toBytes(encodeModel(message)))
  return offset
}

/** Runs in a process of its own, so that its peak memory is its own. */
async function work(from: string, to: string, keepRatio: number): Promise<void> {
  const { model } = loadModel(from)
  // Every third member goes, then every sixth …: neighbours are split, as scores would.
  const keep = Array.from({ length: feedForward }, (_, index) => index).filter(
    (index) => (index * 7919) % feedForward < keepRatio * feedForward,
  )
  if (keepRatio < 1)
    edit(model.graph, 'bench', (change) => {
      for (const value of [...model.graph.initializers()]) {
        const cut = layerWeights.find(([name]) => value.name.endsWith(`.${name}`))?.[2]
        if (cut !== undefined && value.constant)
          change.setConstant(value, gatherAxis(value.constant, cut, keep))
      }
    })
  await saveModelFolder({ models: { 'model.onnx': model }, to })
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage()
  const cpuSeconds = (userCPUTime + systemCPUTime) / 1e6
  process.stdout.write(JSON.stringify({ peakMiB: Math.round(maxRSS / 1024), cpuSeconds }))
}

interface Measured {
  readonly seconds: number
  /** Time on a processor: what remains of `seconds` was waiting, for the disk or for other programs. */
  readonly cpuSeconds: number
  readonly peakMiB: number
  readonly bytes: number
}

function measure(from: string, to: string, keepRatio: number): Measured {
  const self = fileURLToPath(import.meta.url)
  const started = performance.now()
  const done = spawnSync(
    process.execPath,
    ['--import', 'tsx', self, 'work', from, to, String(keepRatio)],
    {
      encoding: 'utf8',
    },
  )
  const seconds = (performance.now() - started) / 1000
  if (done.status !== 0) throw new Error(done.stderr)
  const { peakMiB, cpuSeconds } = JSON.parse(done.stdout) as Measured
  const bytes = statSync(join(to, 'model.onnx.data')).size
  rmSync(to, { recursive: true })
  return { seconds, cpuSeconds, peakMiB, bytes }
}

/** Throws a file out of the page cache, which needs it clean: coreutils' way, without being root. */
function evict(path: string): void {
  execFileSync('sync', ['-f', path])
  execFileSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none'])
}

function measureCopy(from: string, to: string, sync: boolean): number {
  const started = performance.now()
  execFileSync('cp', ['-r', '--reflink=never', from, to])
  if (sync) execFileSync('sync', ['-f', to])
  const seconds = (performance.now() - started) / 1000
  rmSync(to, { recursive: true })
  return seconds
}

function main(gigabytes: number, rounds: number): void {
  const print = (line: string): boolean => process.stdout.write(`${line}\n`)
  const folder = mkdtempSync(join(tmpdir(), 'attnc-bench-'))
  const remove = (): void => rmSync(folder, { recursive: true, force: true })
  process.once('SIGINT', () => {
    remove()
    process.exitCode = 130
  })
  try {
    const from = join(folder, 'model')
    execFileSync('mkdir', [from])
    const bytes = makeModel(from, gigabytes)
    print(
      `${cpus()[0]?.model}, ${cpus().length} threads, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    )
    print(`model: ${(bytes / 1e9).toFixed(2)} GB of fp16 weights`)
    const data = join(from, 'model.onnx.data')
    for (let round = 0; round < 2 * rounds; round++) {
      const isCold = round % 2 === 0
      const prepare = (): void => {
        if (isCold) evict(data)
        else execFileSync('cat', [data], { stdio: 'ignore' })
      }
      prepare()
      const copy = measureCopy(from, join(folder, 'copy'), false)
      prepare()
      const sliced = measure(from, join(folder, 'sliced'), 0.7)
      prepare()
      const copySync = measureCopy(from, join(folder, 'copy'), true)
      prepare()
      const whole = measure(from, join(folder, 'whole'), 1)
      const line = (name: string, each: Measured): boolean =>
        print(
          `  ${name}: ${each.seconds.toFixed(1)} s (${each.cpuSeconds.toFixed(1)} s of CPU, ${(each.seconds / copy).toFixed(2)} × cp, ${(each.seconds / copySync).toFixed(2)} × cp + sync), ` +
            `peak ${each.peakMiB} MiB, ${(each.bytes / 1e9).toFixed(2)} GB written`,
        )
      print(
        `round ${Math.floor(round / 2) + 1}, ${isCold ? 'cold' : 'warm'}: cp ${copy.toFixed(1)} s, cp + sync ${copySync.toFixed(1)} s (load average ${loadavg()[0]?.toFixed(1)})`,
      )
      line('load → keep 70 % of every feed-forward → save', sliced)
      line('load → save', whole)
    }
  } finally {
    remove()
  }
}

const [first, ...rest] = process.argv.slice(2)
if (first === 'work') await work(rest[0] ?? '', rest[1] ?? '', Number(rest[2]))
else main(Number(first ?? 8), Number(rest[0] ?? 2))
