/**
 * Whether row programs give on a GPU what they are said to give: `node dist/bench/cuda/row-programs.js`, after
 * `npx tsc --outDir dist`. Prints each case's difference as a share of what its type allows; ends with how many were over.
 */
import { linkCudaLibraries } from '../../src/runtime/cuda-libraries.js'
import { materialise } from '../../src/runtime/materialise.js'
import { openNativeSession } from '../../src/runtime/native/session.js'
import { missingCompiler } from '../../src/runtime/own-kernels.js'
import type { Feeds } from '../../src/runtime/session.js'
import { oneNode, runReference } from '../../test/kernels/one-node.js'
import { rowCases, rowNode, shareOfTolerance } from '../../test/kernels/row-cases.js'

const print = (line: string): unknown => process.stdout.write(`${line}\n`)
for (const linked of linkCudaLibraries()) print(`linked ${linked}`)
const missing = missingCompiler('cuda')
if (missing) throw new Error(`row programs can't be compiled: ${missing}`)

let over = 0
for (const each of rowCases) {
  const node = rowNode(each)
  const { model, feeds } = oneNode(node)
  const file = materialise(model)
  try {
    await using session = await openNativeSession({ path: file.path, provider: 'cuda' })
    const results = Object.values(await session.run(feeds as Feeds))
    const share = shareOfTolerance(each, results, runReference(node))
    if (!(share < 1)) over++
    print(`${share.toFixed(3)} ${each.title}`)
  } finally {
    file.dispose()
  }
}
print(`${rowCases.length - over} of ${rowCases.length} row programs agree`)
if (over > 0) process.exitCode = 1
