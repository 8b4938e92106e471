/** What else an operator of attnc's needs, wherever it is kept, is there for every one of the list. */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { gradientKernels, kernels } from '../../kernels/index.js'
import { shapeRules } from '../../src/shape/rules/index.js'

const root = resolve(import.meta.dirname, '../..')
const all = [...kernels, ...gradientKernels]
const folderOf = (name: string): string => name.replace(/\B[A-Z]/g, '-$&').toLowerCase()

describe('the list of kernels', () => {
  it('has every folder that holds an operator', () => {
    const folders = readdirSync(join(root, 'kernels')).filter((each) =>
      existsSync(join(root, 'kernels', each, 'index.ts')),
    )
    expect(folders.sort()).toEqual(all.map(({ name }) => folderOf(name)).sort())
  })

  it.each(all)('$name has a shape rule and a page', ({ name }) => {
    expect(shapeRules.has(`attnc.${name}`)).toBe(true)
    expect(existsSync(join(root, 'docs/kernels', `${folderOf(name)}.md`))).toBe(true)
  })
})
