/**
 * The same calibration on every provider of this machine: how far the statistics differ from the CPU's,
 * and how long each takes. CUDA runs twice, as ONNX Runtime sets it up (TF32: products of 10-bit
 * mantissas) and with NVIDIA_TF32_OVERRIDE=0 (full single precision). Each run has a process of its own.
 *
 *   npx tsc --outDir dist && node dist/bench/providers.js MODEL DATA [--samples 16] [--batch-size 4]
 *     [--length 256] [--stride 1] [--only cpu,cuda,cuda-fp32,webgpu]
 *
 * Needs node_modules/{onnxruntime-node,onnxruntime-common,protobufjs,@protobufjs,long,@huggingface} only.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { keyOf, measure } from '../src/calibrate/calibrate.js'
import { readCalibration, writeCalibration } from '../src/calibrate/calibration-file.js'
import type { Calibration } from '../src/calibrate/state.js'
import { finishState } from '../src/calibrate/state.js'
import { openData } from '../src/data/open-data.js'
import { silentLog } from '../src/log.js'
import { readModel } from '../src/model/model.js'
import { loadModel } from '../src/model-folder/load.js'
import { linkCudaLibraries } from '../src/runtime/cuda-libraries.js'
import { type ProviderName, probeProvider } from '../src/runtime/provider.js'

const cases: Readonly<Record<string, { provider: ProviderName; env: Record<string, string> }>> = {
  cpu: { provider: 'cpu', env: {} },
  cuda: { provider: 'cuda', env: {} },
  'cuda-fp32': { provider: 'cuda', env: { NVIDIA_TF32_OVERRIDE: '0' } },
  webgpu: { provider: 'webgpu', env: {} },
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    samples: { type: 'string', default: '16' },
    'batch-size': { type: 'string', default: '4' },
    length: { type: 'string', default: '256' },
    stride: { type: 'string', default: '1' },
    only: { type: 'string', default: Object.keys(cases).join() },
    run: { type: 'string' },
    output: { type: 'string', default: '' },
  },
})
const [path = '', data = ''] = positionals
const print = (line: string): unknown => process.stdout.write(`${line}\n`)

/** One provider, twice: the first run pays for drivers and kernels, the second is the time. */
async function runOne(provider: ProviderName, output: string): Promise<void> {
  const { model, folder } = loadModel(path)
  const batches = openData(data, {
    model,
    folder,
    vocabulary: readModel(model.graph).vocabulary,
    samples: Number(flags.samples),
    batchSize: Number(flags['batch-size']),
    sequenceLength: Number(flags.length),
  })
  const stride = Number(flags.stride)
  const options = { provider, batches, stride, moments: true, log: silentLog }
  const seconds: string[] = []
  for (let round = 0; round < 2; round++) {
    const started = performance.now()
    const state = await measure(model, options)
    seconds.push(((performance.now() - started) / 1000).toFixed(2))
    if (round === 0) await writeCalibration(output, state)
  }
  const tokens = batches.reduce((sum, { ids }) => sum + ids.flat().length, 0)
  print(`${seconds.join(' s, then ')} s for ${tokens} tokens (${keyOf(options).batches} batches)`)
}

interface Difference {
  /** Largest |a − b| of any block, as a share of the block's largest |a|. */
  readonly largest: number
  readonly block: string
  /** Largest |a − b| / |a| of any diagonal entry: what scores are made of. */
  readonly score: number
}

function compare(one: Calibration, other: Calibration): Record<'absolute' | 'moments', Difference> {
  const found = {
    absolute: { largest: 0, block: '', score: 0 },
    moments: { largest: 0, block: '', score: 0 },
  }
  for (const [block, a] of one)
    for (const field of ['absolute', 'moments'] as const) {
      const [x, y] = [a[field], other.get(block)?.[field]]
      if (!x || !y) continue
      let [scale, worst] = [0, 0]
      for (let i = 0; i < x.length; i++) {
        const difference = Math.abs((x[i] as number) - (y[i] as number))
        scale = Math.max(scale, Math.abs(x[i] as number))
        worst = Math.max(worst, difference)
        if (field === 'moments' && i % (a.size + 1) !== 0) continue
        const relative = difference / Math.max(Math.abs(x[i] as number), Number.MIN_VALUE)
        found[field].score = Math.max(found[field].score, relative)
      }
      if (worst / scale <= found[field].largest) continue
      found[field].largest = worst / scale
      found[field].block = block
    }
  return found
}

if (flags.run) await runOne(flags.run as ProviderName, flags.output)
else {
  const folder = mkdtempSync(join(tmpdir(), 'attnc-providers-'))
  try {
    for (const linked of linkCudaLibraries()) print(`linked ${linked}`)
    print(`${path} · ${cpus()[0]?.model}, ${cpus().length} threads`)
    const reference = join(folder, 'cpu.npz')
    for (const name of flags.only.split(',')) {
      const { provider, env } = cases[name] ?? { provider: 'cpu', env: {} }
      const { available, reason } = await probeProvider(provider)
      if (!available) {
        print(`${name}: passed over: ${reason}`)
        continue
      }
      const output = join(folder, `${name}.npz`)
      const script = fileURLToPath(import.meta.url)
      const argv = [...process.argv.slice(2), '--run', provider, '--output', output]
      const child = spawnSync(process.execPath, [...process.execArgv, script, ...argv], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      })
      print(
        `${name}: ${child.status === 0 ? child.stdout.trim() : `failed: ${child.stderr.trim()}`}`,
      )
      if (child.status !== 0 || name === 'cpu') continue
      const [ours, theirs] = [reference, output].map((file) => finishState(readCalibration(file)))
      if (!ours || !theirs) continue
      for (const [field, { largest, block, score }] of Object.entries(compare(ours, theirs)))
        print(
          `  ${field}: differs from cpu by ${largest.toExponential(1)} of the largest (${block}), single scores by ${score.toExponential(1)}`,
        )
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
