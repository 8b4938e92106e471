/** A hook of oclif: what was typed is no command, and some command is spelled nearly so. */
import { AttncError, exitCodes } from '../errors.js'
import { editDistance } from './nearest.js'
import { withoutStack } from './without-stack.js'

export interface NotFound {
  readonly id: string
  /** What was typed behind it. */
  readonly argv?: readonly string[] | undefined
  readonly config: { readonly bin: string; readonly commandIDs: readonly string[] }
}

/** Errors: COMMAND_UNKNOWN, USAGE; with `--json` it is printed as that of a command would be. */
export default async function commandNotFound({ id, argv = [], config }: NotFound): Promise<void> {
  // What was typed after the command comes along.
  const words = id.split(':')
  const [nearest] = config.commandIDs
    .map((each) => {
      const typed = words.slice(0, each.split(':').length).join(':')
      return { name: each.replaceAll(':', ' '), distance: editDistance(each, typed) }
    })
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance)
  // Commands without arguments are told apart from what is typed behind them by nobody else.
  const isKnown = nearest?.distance === 0
  const rest = nearest && words.slice(nearest.name.split(' ').length)
  const { code, message } = isKnown
    ? {
        code: 'USAGE',
        message: `${config.bin} ${nearest.name} takes no arguments: "${rest?.join(' ')}" is none of its flags.`,
      }
    : { code: 'COMMAND_UNKNOWN', message: `There is no command "${words[0]}".` }
  const suggestions = isKnown
    ? [`"${config.bin} ${nearest.name} --help" lists flags.`]
    : [
        ...(nearest ? [`Did you mean "${config.bin} ${nearest.name}"?`] : []),
        `"${config.bin} --help" lists all commands.`,
      ]
  if (![...argv, ...words].includes('--json'))
    throw withoutStack(new AttncError(code, 'usage', message, { suggestions }))
  process.stdout.write(`${JSON.stringify({ error: { code, message, suggestions } }, null, 2)}\n`)
  process.exitCode = exitCodes.usage
}
