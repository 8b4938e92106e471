/**
 * Opens the model at a path as programs do that survive crashes, and runs it on what the command line gives as JSON:
 * prints the error's code and message. Usage: crash-process.ts PATH [FEEDS [BYTES]]
 */
import { AttncError } from '../../src/errors.js'
import { tensorOf } from '../../src/onnx/numbers.js'
import { surviveCrashes } from '../../src/runtime/native/crash.js'
import { openNativeSession } from '../../src/runtime/native/session.js'

const [path = '', feeds = '{}', bytes] = process.argv.slice(2)
surviveCrashes(bytes === undefined ? undefined : Number(bytes))
process.on('exit', () => process.stdout.write('cleaned up\n'))
try {
  await using session = await openNativeSession({ path, threads: 1 })
  process.stdout.write('opened\n')
  const given = Object.entries(JSON.parse(feeds) as Record<string, number[]>)
  await session.run(
    Object.fromEntries(
      given.map(([name, values]) => [name, tensorOf('float32', [values.length], values)]),
    ),
  )
} catch (error) {
  if (!(error instanceof AttncError)) throw error
  process.stdout.write(`${error.code}: ${error.message}\n`)
  process.exit(error.oclif.exit)
}
