/** What the driver's own tool says of a GPU. */
import { spawnSync } from 'node:child_process'

/** A number about the first GPU that CUDA shows, which is the one that sessions take; undefined where nobody says. */
export function askDevice(property: 'memory.free' | 'compute_cap'): number | undefined {
  const [first] = (process.env['CUDA_VISIBLE_DEVICES'] ?? '').split(',')
  const query = [`--query-gpu=${property}`, '--format=csv,noheader,nounits', `--id=${first || 0}`]
  const said = Number.parseFloat(spawnSync('nvidia-smi', query, { encoding: 'utf8' }).stdout ?? '')
  return Number.isNaN(said) ? undefined : said
}
