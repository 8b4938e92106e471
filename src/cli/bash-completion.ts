/**
 * A hook of oclif, after a command: the autocomplete plugin's function for bash completes no flags behind a
 * model's path, and no paths at all. Where the plugin has just written it, this one takes its place.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Ran {
  readonly Command: { readonly id: string }
  readonly config: {
    readonly bin: string
    readonly cacheDir: string
    readonly commands: readonly { readonly id: string; readonly flags: object }[]
  }
}

export default async function completeInBash({ Command, config }: Ran): Promise<void> {
  const folder = join(config.cacheDir, 'autocomplete', 'functions', 'bash')
  if (Command.id !== 'autocomplete' || !existsSync(folder)) return
  writeFileSync(join(folder, `${config.bin}.bash`), bashFunction(config))
}

export function bashFunction({ bin, commands }: Ran['config']): string {
  const lines = commands
    .filter(({ id }) => !id.startsWith('autocomplete:'))
    .map(({ id, flags }) => {
      const names = Object.keys(flags).map((name) => `--${name}`)
      return `    '${id.replaceAll(':', ' ')}') flags='${names.join(' ')}' ;;`
    })
  const first = [...new Set(commands.map(({ id }) => id.split(':')[0]))].join(' ')
  return `#!/usr/bin/env bash
_${bin}_flags() {
  case "$1" in
${lines.join('\n')}
    *) return 1 ;;
  esac
}
_${bin}_autocomplete() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" flags=''
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${first}" -- "$cur"))
  elif [[ "$cur" == -* ]]; then
    # A command is one word or two; what follows it may be paths.
    _${bin}_flags "\${COMP_WORDS[*]:1:2}" || _${bin}_flags "\${COMP_WORDS[1]}"
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  fi
}
complete -o default -F _${bin}_autocomplete ${bin}
`
}
