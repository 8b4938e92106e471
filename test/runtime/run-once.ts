/** One run of a model in memory. */
import type { Model } from '../../src/graph/graph.js'
import type { RuntimeTensor } from '../../src/onnx/numbers.js'
import { materialise } from '../../src/runtime/materialise.js'
import {
  type Feeds,
  openSession,
  type Session,
  type SessionOptions,
} from '../../src/runtime/session.js'

/** All outputs by name; `open` opens the session. */
export async function runOnce(
  model: Model,
  feeds: Feeds,
  open: (options: SessionOptions) => Promise<Session> = openSession,
): Promise<Record<string, RuntimeTensor>> {
  const file = materialise(model)
  try {
    await using session = await open({ path: file.path, threads: 1 })
    return await session.run(feeds)
  } finally {
    file.dispose()
  }
}
