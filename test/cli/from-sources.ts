/** attnc from its sources, as a program: for tests of scripts that call it, whatever was built when. */
import { type Command, handle } from '@oclif/core'
import { root } from '../commands/run-command.js'

const [name = '', ...argv] = process.argv.slice(2)
const { default: command } = (await import(`../../commands/${name}.ts`)) as {
  default: typeof Command & { run(argv: string[], root: string): Promise<unknown> }
}
command.id = name
try {
  await command.run(argv, root)
} catch (error) {
  await handle(error as Error)
}
