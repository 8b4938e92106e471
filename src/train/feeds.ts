/** What a training or loss graph is fed of all that there is: by name, the teacher's inputs by their own. */
import type { Value } from '../graph/graph.js'
import { fitEmpty } from '../runtime/batches.js'
import type { Feeds, Session } from '../runtime/session.js'
import { TEACHER } from './teacher.js'

/** Inputs without a feed are left out: a step carries them from the one before. */
export function feedsOf(session: Session, all: Feeds): Feeds {
  return Object.fromEntries(
    session.inputs.flatMap((port) => {
      const feed = feedOf(port.name, port.dims, all)
      return feed ? [[port.name, feed]] : []
    }),
  )
}

/** The sizes that an input of a graph has with one of the batches. */
export const sizesIn =
  (all: Feeds) =>
  ({ name, type }: Value): readonly number[] | undefined =>
    feedOf(name, type?.dims ?? [], all)?.dims

/** An empty cache is fed with the heads that the graph has (`dims`): fewer than the data's where some went. */
function feedOf(
  name: string,
  dims: readonly (number | string | undefined)[],
  all: Feeds,
): Feeds[string] | undefined {
  const feed = all[name.startsWith(TEACHER) ? name.slice(TEACHER.length) : name]
  return feed && fitEmpty(feed, { dims })
}
