/** The passes there are. A new one: a folder beside these, a line here, its name in `passFlag`. */
import type { Pass } from '../src/plan/pass.js'
import { ampPass } from './amp/index.js'
import { lightenPass } from './lighten/index.js'
import { quantizePass } from './quantize/index.js'
import { recoverPass } from './recover/index.js'
import { sparsifyPass } from './sparsify/index.js'
import { vocabularyPass } from './vocabulary/index.js'
import { vtransPass } from './vtrans/index.js'

export const passes: readonly Pass[] = [
  ampPass,
  sparsifyPass,
  vtransPass,
  recoverPass,
  vocabularyPass,
  lightenPass,
  quantizePass,
]
