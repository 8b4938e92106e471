#!/usr/bin/env node
// Ctrl-C while things are being loaded; commands bring their own, longer answer.
process.on('SIGINT', () => {
  if (process.listenerCount('SIGINT') === 1) process.exit(130)
})
const { execute } = await import('@oclif/core')
await execute({ dir: import.meta.url })
