/** What a training or loss graph is fed of all that there is: by name, the teacher's inputs by their own. */
import { fitEmpty } from '../runtime/batches.js'
import type { Feeds, Session } from '../runtime/session.js'
import { TEACHER } from './teacher.js'

/** Inputs without a feed are left out: a step carries them from the one before. */
export function feedsOf(session: Session, all: Feeds): Feeds {
  return Object.fromEntries(
    session.inputs.flatMap((port) => {
      const { name } = port
      const own = name.startsWith(TEACHER) ? name.slice(TEACHER.length) : name
      const feed = all[own]
      return feed ? [[name, fitEmpty(feed, port)]] : []
    }),
  )
}
