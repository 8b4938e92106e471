/**
 * Real models and how they are measured: the protocols of the models' READMEs. SmolLM2 and MiniLM are
 * looked for, and built by their build.py where that works, in the folder of built models.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Batch } from '../src/data/batch.js'
import { type DataOptions, openData } from '../src/data/open-data.js'
import type { MetricName } from '../src/evaluate/metric-name.js'
import type { LoadedModel } from '../src/model-folder/load.js'

export interface Part extends Partial<DataOptions> {
  readonly path: string
}

export interface Case {
  readonly name: string
  readonly model: string
  readonly calibration: Part
  readonly evaluation: Part
  readonly metrics: readonly MetricName[]
  readonly ratios: readonly number[]
  /** What was aimed at, in the order of `metrics`, by ratio. */
  readonly goals: Readonly<Record<string, readonly number[]>>
}

const story = { sequenceLength: 256, textMode: 'paragraphs', startToken: 0 } as const

export interface Places {
  readonly shared: string
  readonly built: string
  /** Names of the models that are to be built where they are not there yet; all by default. */
  readonly wanted: readonly string[] | undefined
}

export function findCases(places: Places): readonly Case[] {
  const inShared = (path: string): string => join(places.shared, path)
  const built = (name: string): string => findBuilt(name, places)
  const wikitext = (part: 'test' | 'valid'): string => inShared(`data/wikitext-2.${part}.txt`)
  const small = (name: string, metrics: readonly MetricName[]): Case => ({
    name,
    model: inShared(`models/${name}/model.onnx`),
    calibration: { path: inShared(`models/${name}/calibration.npz`), batchSize: 64 },
    evaluation: { path: inShared(`models/${name}/eval.npz`), batchSize: 100 },
    metrics,
    ratios: [0.1, 0.2, 0.3, 0.5],
    goals: {},
  })
  return [
    {
      name: 'tiny-stories',
      model: inShared('models/tiny-stories/model.onnx'),
      calibration: { path: inShared('models/tiny-stories/calibration.txt'), ...story },
      evaluation: { path: inShared('models/tiny-stories/eval.txt'), ...story },
      metrics: ['perplexity'],
      ratios: [0.1, 0.2, 0.3, 0.5],
      goals: { 0.1: [7.05], 0.2: [7.9], 0.3: [9.3], 0.5: [17] },
    },
    {
      name: 'minilm',
      model: join(built('minilm'), 'model.onnx'),
      calibration: {
        path: wikitext('test'),
        textMode: 'sentences',
        sequenceLength: 128,
        batchSize: 32,
        samples: 2048,
      },
      evaluation: {
        path: wikitext('valid'),
        textMode: 'sentences',
        sequenceLength: 128,
        batchSize: 32,
        samples: 2000,
      },
      metrics: ['cosine', 'top10'],
      ratios: [0.2, 0.3, 0.5],
      goals: { 0.2: [0.975, 0.85], 0.3: [0.955, 0.8], 0.5: [0.88, 0.68] },
    },
    small('digits-vit', ['accuracy']),
    small('sasrec-video', ['ndcg@10', 'hit-rate@10']),
    {
      name: 'smollm2',
      model: join(built('smollm2'), 'model.onnx'),
      calibration: { path: wikitext('valid'), sequenceLength: 512, batchSize: 4, tokens: 32_768 },
      evaluation: { path: wikitext('test'), sequenceLength: 1024, batchSize: 1, tokens: 16_384 },
      metrics: ['perplexity'],
      ratios: [0.1, 0.2, 0.3, 0.5],
      goals: { 0.1: [21.5], 0.2: [24.3], 0.3: [27.8], 0.5: [40] },
    },
  ]
}

/** Where the built model is; made by its build.py where it is not there yet. */
function findBuilt(name: string, { shared, built, wanted }: Places): string {
  const folder = join(resolve(built), name)
  const script = join(shared, `models/${name}/build.py`)
  const isWanted = !wanted || wanted.includes(name)
  if (isWanted && !existsSync(folder) && existsSync(script))
    try {
      execFileSync('python3', [script, '--out', folder], { stdio: 'inherit' })
    } catch (error) {
      process.stdout.write(`${name} could not be built: ${(error as Error).message}\n`)
    }
  return folder
}

export function readPart(source: LoadedModel, { path, ...options }: Part): Batch[] {
  return openData(path, { model: source.model, folder: source.folder, ...options })
}
