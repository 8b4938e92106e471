/** Numbers that may be written in more than one way. */
import { parseAmount } from '../bench/cost.js'
import { AttncError } from '../errors.js'

/** 0.3, .3 or 30%. Error: RATIO_FORMAT. */
export function parseRatio(text: string): number {
  const match = /^\s*(\d*\.?\d+)\s*(%?)\s*$/.exec(text)
  const value = match ? Number(match[1]) / (match[2] ? 100 : 1) : Number.NaN
  if (value > 0 && value < 1) return value
  throw new AttncError(
    'RATIO_RANGE',
    'usage',
    `The ratio is "${text}"; it has to lie between 0 and 1 (0.2 or 20% removes a fifth).`,
  )
}

/** A line of cache holds 16 floats. */
const automaticMultiple = 16

/** A whole number from 1 on, or "auto". Error: ROUND_TO_FORMAT. */
export function parseRoundTo(text: string): number {
  if (text === 'auto') return automaticMultiple
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1) return value
  throw new AttncError(
    'ROUND_TO_FORMAT',
    'usage',
    `--round-to is "${text}"; it has to be a whole number or "auto".`,
    { suggestions: ['8, 16, 32 and 64 are usual.'] },
  )
}

/** A number that is not negative. Error: NUMBER_FORMAT. */
export function parseNumber(flag: string, text: string): number {
  const number = Number(text)
  if (text.trim() !== '' && Number.isFinite(number) && number >= 0) return number
  throw new AttncError(
    'NUMBER_FORMAT',
    'usage',
    `--${flag} is "${text}"; it has to be a number that is not negative.`,
  )
}

/** A number from 0 to 1. Errors: NUMBER_FORMAT, NUMBER_RANGE. */
export function parseShare(flag: string, text: string): number {
  const share = parseNumber(flag, text)
  if (share <= 1) return share
  throw new AttncError('NUMBER_RANGE', 'usage', `--${flag} is ${share}; it is at most 1.`)
}

/** 8GB, 500MB. Error: BYTES_FORMAT. */
export function parseBytes(flag: string, text: string): number {
  const amount = parseAmount('size', text)
  if (typeof amount !== 'string' && amount.unit === 'absolute' && amount.number > 0)
    return amount.number
  throw new AttncError(
    'BYTES_FORMAT',
    'usage',
    `--${flag} is "${text}"; it has to be an amount of memory${typeof amount === 'string' ? `, but ${amount}` : ''}.`,
    { suggestions: ['500MB and 8GB are such amounts.'] },
  )
}
