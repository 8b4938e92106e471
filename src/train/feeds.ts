/** What a training or loss graph is fed of all that there is: by name, the teacher's inputs by their own. */
import { symbolSizes } from '../data/symbol-sizes.js'
import type { Graph, Value } from '../graph/graph.js'
import { fitEmpty } from '../runtime/batches.js'
import type { Feeds, Session } from '../runtime/session.js'
import { TEACHER } from './loss/teacher.js'

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

/** The sizes that a batch gives the symbols in the shapes of a graph's inputs. */
export const sizesOfFeeds = (graph: Graph, all: Feeds): Map<string, number> =>
  symbolSizes(graph, (name) => all[ownName(name)]?.dims)

/** A teacher's inputs are the model's. */
const ownName = (name: string): string =>
  name.startsWith(TEACHER) ? name.slice(TEACHER.length) : name

/** An empty cache is fed with the heads that the graph has (`dims`): fewer than the data's where some went. */
function feedOf(
  name: string,
  dims: readonly (number | string | undefined)[],
  all: Feeds,
): Feeds[string] | undefined {
  const feed = all[ownName(name)]
  return feed && fitEmpty(feed, { dims })
}
