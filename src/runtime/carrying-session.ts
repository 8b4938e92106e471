/**
 * Sessions that are stepped through many times. On a device attnc's own, where it is built: what a step
 * carries stays there. Elsewhere one in a thread, where it crosses memory that is near.
 */
import { findAddon } from './native/library.js'
import { openNativeSession } from './native/session.js'
import { openSession, type Session, type SessionOptions } from './session.js'

export const openCarryingSession = (options: SessionOptions): Promise<Session> =>
  options.provider === 'cuda' && findAddon() ? openNativeSession(options) : openSession(options)
