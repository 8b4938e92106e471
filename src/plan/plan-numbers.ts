/**
 * Numbers of a plan as arrays by name, for a .npz: `attention.3` is a re-fitted projection, with
 * `attention.3.basis`, `.shift` and `.reads.N` where it has them; `weights/NAME` a replaced
 * constant, `weights/DIGEST/NAME` where its numbers before tell which one; `quantized/3.codes`,
 * `.scales` and `.zeros` the codes of the third quantised weight. Parts after the first have their
 * position in front: `1/attention.3`.
 */
import type { RuntimeTensor } from '../onnx/numbers.js'
import type { PlanPart, QuantizedWeight, RefittedProjection, ReplacedWeight } from './plan.js'

export type Arrays = Readonly<Record<string, RuntimeTensor>>

export function numbersOfParts(parts: readonly PlanPart[]): Arrays {
  const arrays: Record<string, RuntimeTensor> = {}
  for (const [index, part] of parts.entries())
    for (const [name, tensor] of Object.entries(numbersOfPart(part)))
      arrays[`${index === 0 ? '' : `${index}/`}${name}`] = tensor
  return arrays
}

/** The parts with the numbers that are theirs. */
export function withNumbers(parts: readonly PlanPart[], arrays: Arrays): PlanPart[] {
  return parts.map((part, index) => {
    const prefix = index === 0 ? '' : `${index}/`
    const isOwn = (name: string): boolean =>
      index === 0 ? !/^\d+\//.test(name) : name.startsWith(prefix)
    const own = Object.fromEntries(
      Object.entries(arrays)
        .filter(([name]) => isOwn(name))
        .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    )
    const projections = readProjections(own)
    const weights = readWeights(own)
    const quantized = part.quantized?.map((entry, place) => withCodes(entry, place, own))
    return {
      ...part,
      ...(quantized && { quantized }),
      ...(projections.length > 0 && { projections }),
      ...(weights.length > 0 && { weights }),
    }
  })
}

const WEIGHTS = 'weights/'
const isWeight = (name: string): boolean => name.startsWith(WEIGHTS)

const QUANTIZED = 'quantized/'

function withCodes(entry: QuantizedWeight, place: number, arrays: Arrays): QuantizedWeight {
  const array = (part: string) => arrays[`${QUANTIZED}${place}.${part}`]
  const [codes, scales, zeros] = [array('codes'), array('scales'), array('zeros')]
  if (!codes || !scales || !zeros) return entry
  const [outputs = 0, inputs = 0] = codes.dims
  return {
    ...entry,
    codes: {
      outputs,
      inputs,
      codes: codes.data as Uint8Array,
      scales: scales.data as Float32Array,
      zeros: zeros.data as Uint8Array,
    },
  }
}

function numbersOfPart({ projections = [], weights = [], quantized = [] }: PlanPart): Arrays {
  const arrays: Record<string, RuntimeTensor> = {}
  for (const { block, rows, columns, weight, basis, shift, reads } of projections) {
    arrays[block] = { dataType: 'float32', dims: [rows, columns], data: weight }
    if (basis)
      arrays[`${block}.basis`] = {
        dataType: 'float32',
        dims: [basis.heads, basis.size, basis.size],
        data: basis.numbers,
      }
    for (const { index, weight: read } of reads ?? [])
      arrays[`${block}.reads.${index}`] = { dataType: 'float32', dims: [read.length], data: read }
    if (shift) arrays[`${block}.shift`] = { dataType: 'float32', dims: [columns], data: shift }
  }
  for (const { name, digest, tensor } of weights)
    arrays[`${WEIGHTS}${digest ? `${digest}/` : ''}${name}`] = tensor
  for (const [place, { codes: found }] of quantized.entries()) {
    if (!found) continue
    const { outputs, inputs, codes, scales, zeros } = found
    const blocks = [outputs, scales.length / outputs]
    const key = `${QUANTIZED}${place}`
    arrays[`${key}.codes`] = { dataType: 'uint8', dims: [outputs, inputs], data: codes }
    arrays[`${key}.scales`] = { dataType: 'float32', dims: blocks, data: scales }
    arrays[`${key}.zeros`] = { dataType: 'uint8', dims: blocks, data: zeros }
  }
  return arrays
}

const readWeights = (arrays: Arrays): ReplacedWeight[] =>
  Object.entries(arrays)
    .filter(([name]) => isWeight(name))
    .map(([key, tensor]) => {
      const [, digest, name = ''] = /^weights\/(?:([0-9a-f]{64})\/)?(.*)$/s.exec(key) ?? []
      return { name, tensor, ...(digest !== undefined && { digest }) }
    })

function readProjections(arrays: Arrays): RefittedProjection[] {
  return Object.entries(arrays)
    .filter(
      ([name]) =>
        !isWeight(name) && !name.startsWith(QUANTIZED) && !/\.(basis|shift|reads\.\d+)$/.test(name),
    )
    .map(([block, { dims, data }]) => {
      const basis = arrays[`${block}.basis`]
      const shift = arrays[`${block}.shift`]
      const [rows = 0, columns = 0] = dims
      const reads = Object.entries(arrays).flatMap(([key, { data: read }]) => {
        const [, index] = key.startsWith(`${block}.reads.`) ? key.split('.reads.') : []
        return index === undefined ? [] : { index: Number(index), weight: read as Float32Array }
      })
      return {
        block,
        rows,
        columns,
        weight: data as Float32Array,
        ...(reads.length > 0 ? { reads } : {}),
        ...(shift ? { shift: shift.data as Float32Array } : {}),
        ...(basis
          ? {
              basis: {
                heads: basis.dims[0] ?? 0,
                size: basis.dims[1] ?? 0,
                numbers: basis.data as Float32Array,
              },
            }
          : {}),
      }
    })
}
