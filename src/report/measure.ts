/** What a report measures itself, where that is asked for: speed, quality, texts of both models. */
import { type BenchResult, bench } from '../bench/bench.js'
import { defaultMetric } from '../evaluate/evaluate.js'
import { generate } from '../generate/generate.js'
import { readHostConfig } from '../generate/host-config.js'
import { measurePair } from '../prune/measure-pair.js'
import type { GatherOptions } from './gather-options.js'
import type { Quality, TextPair } from './report-data.js'
import type { PruneRun } from './run-file.js'

/** Of a run that was given, where nothing is to be timed here. */
export async function timingOf(options: GatherOptions): Promise<BenchResult | null> {
  const { before, after, single, runs = [] } = options
  const given = runs.find((each) => each.kind === 'bench')?.run ?? null
  if (!options.bench) return given
  const positions = [before, after].map(({ folder }) => readHostConfig(folder).positions ?? 512)
  return bench([before, after], {
    ...options,
    single,
    sequenceLength: Math.min(512, ...positions),
    runs: 30,
    seconds: 5,
  })
}

/** Of the run that made the model, where nothing is to be measured here. */
export async function qualityOf(
  options: GatherOptions,
  prune: PruneRun | undefined,
): Promise<readonly Quality[]> {
  const { evaluate, before, after, log } = options
  if (!evaluate) return prune?.quality ?? []
  log.info('Measuring quality before and after.')
  const { batches, afterBatches = batches } = evaluate
  const metrics =
    evaluate.metrics.length > 0 ? evaluate.metrics : [defaultMetric(before.model, batches, true)]
  const pairs = await measurePair(before.model, after.model, {
    ...options,
    batches: afterBatches,
    denseBatches: batches,
    metrics,
  })
  return pairs.map(({ before: was, after: { metric, value, samples } }) => ({
    metric,
    before: was?.value ?? null,
    after: value,
    samples,
  }))
}

export async function textsOf(options: GatherOptions): Promise<TextPair[]> {
  const { prompts = [], maxTokens = 64, before, after, single, log } = options
  const texts: TextPair[] = []
  for (const [index, prompt] of prompts.entries()) {
    log.progress('generating', index, prompts.length)
    const common = { ...options, prompt, maxTokens, single }
    const { text: first } = await generate({ ...common, source: before })
    const { text: second } = await generate({ ...common, source: after })
    texts.push({ prompt, before: first, after: second })
  }
  return texts
}
