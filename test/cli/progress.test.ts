/** The line that moves, on terminals that don't know how wide they are. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { knowWidth, openTerminal } from '../../src/cli/progress.js'

describe('the width of a terminal', () => {
  it.each([
    ['no columns is taken as 80', 0, 80],
    ['its own stays', 132, 132],
    ['none that is known stays open', undefined, undefined],
  ])('%s', (_, columns, expected) => {
    const stream = { columns }
    knowWidth(stream)
    expect(stream.columns).toBe(expected)
  })
})

describe('the line that moves', () => {
  // In continuous integration, and on terminals that can't, no line does.
  beforeEach(() => {
    vi.stubEnv('CI', undefined)
    vi.stubEnv('TERM', 'xterm')
  })
  afterEach(() => vi.unstubAllEnvs())

  /** What is written to a terminal. */
  function terminal(isTTY: boolean) {
    let text = ''
    const nothing = (): boolean => true
    const write = (more: string): boolean => {
      text += more
      return true
    }
    const parts = { cursorTo: nothing, clearLine: nothing, moveCursor: nothing }
    const stream = { ...parts, isTTY, columns: 80, write } as unknown as NodeJS.WriteStream
    const log = openTerminal({ isSilent: false, warn: nothing, stream })
    const forget = (): void => {
      text = ''
    }
    return { log, text: () => text, forget }
  }
  const patience = { timeout: 60_000, interval: 50 }

  it('comes by itself where nothing says how far it is, and after a step that is done', async () => {
    const { log, text, forget } = terminal(true)
    log.info('Checking.')
    await vi.waitFor(() => expect(text()).toMatch(/^Checking\.\n.*working · \d+ s/s), patience)
    await vi.waitFor(() => {
      log.progress('ranking', 3, 4)
      expect(text()).toMatch(/ranking 3\/4/)
    }, patience)
    log.progress('ranking', 4, 4)
    forget()
    log.info('Writing.')
    await vi.waitFor(() => expect(text()).toMatch(/working · \d+ s/), patience)
    log.stop()
    expect(text()).not.toContain('ranking')
  })

  it('is left out where nobody looks', async () => {
    const { log, text } = terminal(false)
    log.info('Checking.')
    await new Promise((resolve) => setTimeout(resolve, 3000))
    log.stop()
    expect(text()).toBe('Checking.\n')
  })
})
