/**
 * What an input of whole numbers is for. Graphs don't say it; hosts agree on these names, and on no
 * others, so this is the one place where a name decides.
 */
export type TokenRole = 'ids' | 'mask' | 'positions' | 'segments'

export function tokenRole(name: string): TokenRole {
  if (/mask/i.test(name)) return 'mask'
  if (/position/i.test(name)) return 'positions'
  return /token_type|segment/i.test(name) ? 'segments' : 'ids'
}
