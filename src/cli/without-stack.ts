import type { AttncError } from '../errors.js'

/** What a user did wrong is said without a stack, and without what others, or attnc's sources, call it. */
export function withoutStack(error: AttncError): AttncError {
  error.stack = ''
  error.name = 'Error'
  delete error.cause
  return error
}
