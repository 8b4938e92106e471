/** A model runs on random inputs and says numbers. */
import type { Batch } from '../data/batch.js'
import { findContinuation } from '../data/continued.js'
import { otherInputs, sampleInputs } from '../data/sample-inputs.js'
import { AttncError } from '../errors.js'
import { isFloating } from '../onnx/data-type.js'
import { numbersOf, type RuntimeTensor } from '../onnx/numbers.js'
import type { RunOptions } from '../runtime/batches.js'
import { openSession } from '../runtime/session.js'
import { Inapplicable, Objection } from './report.js'
import type { Subject } from './subject.js'

/** Error: Inapplicable where the model that it was made from doesn't run on such inputs either. */
export async function checkRuns(
  subject: Subject,
  options: RunOptions & { readonly seed?: number | undefined },
  original?: () => Subject,
): Promise<string> {
  try {
    return await run(subject, options)
  } catch (error) {
    const isRun = error instanceof AttncError && error.code === 'RUN_FAILED'
    if (!isRun || !original || (await canRun(original(), options))) throw error
    throw new Inapplicable(`neither it nor its original runs on random inputs: ${error.message}`)
  }
}

const canRun = (subject: Subject, options: RunOptions): Promise<boolean> =>
  run(subject, options).then(
    () => true,
    () => false,
  )

async function run(
  { source, view }: Subject,
  options: RunOptions & { readonly seed?: number | undefined },
): Promise<string> {
  const { provider = 'cpu', threads, signal } = options
  const batch = inputsOf({ source, view }, options.seed ?? 0)
  await using session = await openSession({ path: source.path, provider, threads, signal })
  const goOn = findContinuation(source.model)
  const runOn = async (own: Batch): Promise<number> => {
    const results = await session.run(own.feeds)
    assertNumbers(results, '')
    if (!goOn) return Object.keys(results).length
    const before = await session.run(goOn.before(own).feeds)
    assertNumbers(await session.run(goOn.after(own, before).feeds), ' after a cache')
    return Object.keys(results).length
  }
  const count = await runOn(batch).catch((error: unknown) => {
    signal?.throwIfAborted()
    if (error instanceof Objection) throw error
    const sizes = { vocabulary: view.vocabulary, seed: options.seed ?? 0 }
    return runOn(otherInputs(source.model, sizes)).catch(() => {
      throw error
    })
  })
  const ways = goOn ? ', with its cache and without' : ''
  return `${count} ${count === 1 ? 'output' : 'outputs'} without NaN on random inputs${ways}`
}

function assertNumbers(results: Readonly<Record<string, RuntimeTensor>>, when: string): void {
  for (const [name, tensor] of Object.entries(results))
    if (isFloating(tensor.dataType) && numbersOf(tensor).some(Number.isNaN))
      throw new Objection('numeric', `Output "${name}" has NaN in it on random inputs${when}.`)
}

function inputsOf({ source, view }: Subject, seed: number) {
  try {
    return sampleInputs(source.model, { vocabulary: view.vocabulary, seed })
  } catch (error) {
    if (error instanceof AttncError && error.code === 'INPUT_UNKNOWN')
      throw new Inapplicable(`${error.message} Nothing was run.`)
    throw error
  }
}
