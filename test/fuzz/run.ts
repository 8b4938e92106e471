/**
 * Damaged models through the whole library, in a process of its own, so that a crash or a hang ends this
 * process and not the tests: load → inspect → a random plan → save → load. Prints a line of JSON for
 * each seed before it starts, for each fault, and one of how often each code came.
 * Usage: run.ts first count [file …]
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generator } from '../../src/data/generator.js'
import { AttncError } from '../../src/errors.js'
import { checkModel } from '../../src/graph/check.js'
import { inspect } from '../../src/inspect/inspect.js'
import { readModel } from '../../src/model/model.js'
import { loadModel } from '../../src/model-folder/load.js'
import { saveModelFolder } from '../../src/model-folder/save.js'
import { encodeModel, toBytes } from '../../src/onnx/codec.js'
import { applyPart } from '../../src/plan/apply.js'
import { branchingModel } from '../graph/models.js'
import { attentionModel } from './models.js'
import { mutate, type Random } from './mutate.js'

/** A case that keeps a processor busy for longer is a fault. Time on the clock says more of the machine. */
const limitMs = 20_000

const print = (line: object): boolean => process.stdout.write(`${JSON.stringify(line)}\n`)

async function runCase(bytes: Uint8Array, random: Random, folder: string): Promise<string> {
  const path = join(folder, 'model.onnx')
  writeFileSync(path, mutate(bytes, random))
  const output = join(folder, 'output')
  try {
    const { model } = loadModel(path)
    for (const value of model.graph.initializers()) value.constant?.bytes()
    if (random() < 0.2) await inspect(model)
    const view = readModel(model.graph)
    const slices = view.dimensions
      .filter((each) => each.sliceable && each.size > each.granularity && random() < 0.5)
      .map((each) => ({
        dimension: each.id,
        remove: Array.from({ length: each.granularity }, (_, index) => index),
      }))
    applyPart(model.graph, { slices }, { view, as: random() < 0.8 ? 'slice' : 'mask' })
    await saveModelFolder({ models: { 'model.onnx': model }, to: output })
    const { violations } = checkModel(loadModel(output).model)
    if (violations.length > 0) throw new Error(`unlawful: ${JSON.stringify(violations[0])}`)
    return 'SAVED'
  } catch (error) {
    if (!(error instanceof AttncError) || error.code === 'GRAPH_LAW') throw error
    const left = readdirSync(folder).filter((name) => name !== 'model.onnx')
    if (left.length > 0) throw new Error(`left behind: ${left}`)
    return error.code
  } finally {
    rmSync(output, { recursive: true, force: true })
  }
}

const [first = 0, count = 1] = process.argv.slice(2, 4).map(Number)
const files = process.argv.slice(4).filter((each) => existsSync(each))
const sources = [
  ...files.map((each) => readFileSync(each)),
  ...[branchingModel(), attentionModel()].map((each) => toBytes(encodeModel(each))),
]
const folder = mkdtempSync(join(tmpdir(), 'attnc-fuzz-'))
const codes: Record<string, number> = {}
try {
  for (let seed = first; seed < first + count; seed++) {
    print({ seed })
    const started = process.cpuUsage()
    try {
      const code = await runCase(sources[seed % sources.length] as Buffer, generator(seed), folder)
      codes[code] = (codes[code] ?? 0) + 1
    } catch (error) {
      print({ seed, fault: error instanceof Error ? error.stack : String(error) })
    }
    const { user, system } = process.cpuUsage(started)
    const ms = Math.round((user + system) / 1000)
    if (ms > limitMs) print({ seed, fault: `took ${ms} ms` })
  }
  print({ codes })
} finally {
  rmSync(folder, { recursive: true, force: true })
}
