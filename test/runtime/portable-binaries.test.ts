import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findKernelLibrary } from '../../src/runtime/native/library.js'

const names = ['libattnc_kernels.so', 'attnc_session.node']
const library = findKernelLibrary()
const pathOf = (name: string): string => join(dirname(library ?? ''), name)
const isBuilt = (name: string): boolean => library !== undefined && existsSync(pathOf(name))
if (!names.some(isBuilt))
  process.stderr.write('skipped: no compiled parts; "npm run build:native" builds them\n')

/** What Node 20 and ONNX Runtime themselves ask of a system. */
const floors = { GLIBC: '2.28', GLIBCXX: '3.4.21' }
const order = new Intl.Collator('en', { numeric: true })

for (const name of names)
  describe.runIf(isBuilt(name))(name, () => {
    it.each(Object.entries(floors))('asks of %s no more than %s', (family, floor) => {
      const binary = readFileSync(pathOf(name), 'latin1')
      const asked = [...binary.matchAll(new RegExp(`\\0${family}_([0-9.]+)(?=\\0)`, 'g'))]
        .map((match) => match[1] as string)
        .filter((version) => order.compare(version, floor) > 0)
      expect(asked).toEqual([])
    })
  })
