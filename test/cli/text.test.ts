/** Commands that are printed can be typed as they stand. */
import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { shellWord } from '../../src/cli/text.js'

it
  .skipIf(process.platform === 'win32')
  .each(['model/', 'my models/größe 小', "it's", '$HOME `x` "y"', ''])(
  'a word is read by a shell as it was: %j',
  (word) => {
    const text = execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' })
    expect(text).toBe(word)
  },
)
