/** A model runs on random inputs and says numbers. */
import { otherInputs, sampleInputs } from '../data/sample-inputs.js'
import { AttncError } from '../errors.js'
import { isFloating } from '../onnx/data-type.js'
import { numbersOf } from '../onnx/numbers.js'
import type { RunOptions } from '../runtime/batches.js'
import { openSession } from '../runtime/session.js'
import { Inapplicable, Objection } from './report.js'
import type { Subject } from './subject.js'

export async function checkRuns(
  { source, view }: Subject,
  options: RunOptions & { readonly seed?: number | undefined },
): Promise<string> {
  const { provider = 'cpu', threads, signal } = options
  const { feeds } = inputsOf({ source, view }, options.seed ?? 0)
  await using session = await openSession({ path: source.path, provider, threads, signal })
  const results = Object.entries(
    await session.run(feeds).catch((error: unknown) => {
      signal?.throwIfAborted()
      const sizes = { vocabulary: view.vocabulary, seed: options.seed ?? 0 }
      return session.run(otherInputs(source.model, sizes).feeds).catch(() => {
        throw error
      })
    }),
  )
  for (const [name, tensor] of results)
    if (isFloating(tensor.dataType) && numbersOf(tensor).some(Number.isNaN))
      throw new Objection('numeric', `Output "${name}" has NaN in it on random inputs.`)
  return `${results.length} outputs without NaN on random inputs`
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
