/**
 * The process in which crash-site.ts opens and runs a model. Refusals and failures are no crashes:
 * it ends as always then.
 */
import type { CrashTrial } from './crash-site.js'
import { openNativeSession } from './session.js'

async function attempt({ path, feeds }: CrashTrial): Promise<void> {
  await using session = await openNativeSession({ path, threads: 1, quiet: true })
  if (!feeds) return
  const known = new Set(session.inputs.map(({ name }) => name))
  await session.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => known.has(name))))
}

process.once('message', (trial: CrashTrial) => {
  attempt(trial)
    .catch(() => {})
    .finally(() => process.disconnect())
})
