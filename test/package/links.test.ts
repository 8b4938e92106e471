/** Links between documents lead to files and headings that are there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from '../commands/run-command.js'

const markdown = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: folder !== '', encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
    .map((name) => join(folder, name))

const documents = ['', 'docs', 'examples', 'kernels'].flatMap(markdown)

const textOf = (name: string): string => readFileSync(join(root, name), 'utf8')

/** As GitHub names them. */
const anchorsOf = (name: string): string[] =>
  [...textOf(name).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-'),
  )

/** What is wrong with a link, or undefined. */
function problemOf(from: string, link: string): string | undefined {
  const [path = '', anchor] = link.split('#')
  const target = path ? normalize(join(dirname(from), path)) : from
  if (!existsSync(join(root, target))) return `there is no ${target}`
  const isThere = anchor === undefined || anchorsOf(target).includes(anchor)
  return isThere ? undefined : `${target} has no heading #${anchor}`
}

describe('links in', () => {
  it.each(documents)('%s lead somewhere', (name) => {
    const links = [...textOf(name).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link)
    const problems = links
      .filter((link) => !/^[a-z]+:/.test(link))
      .map((link) => problemOf(name, link))
    expect(problems.filter((problem) => problem !== undefined)).toEqual([])
  })
})
