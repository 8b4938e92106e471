/**
 * Text from tokens that come one by one. A token may be part of a character, and decoders treat the
 * start of a text in their own way, so a few tokens before the new ones are decoded along with them.
 */
import type { Tokenizer } from '../data/tokenizer.js'

/** Tokens decoded along: more than any character or word piece needs. */
const OVERLAP = 8
const incomplete = '\uFFFD'

export class TextStream {
  text = ''
  private readonly tokens: number[]
  private done: number

  constructor(
    private readonly tokenizer: Tokenizer,
    before: readonly number[],
  ) {
    this.tokens = before.slice(-OVERLAP)
    this.done = this.tokens.length
  }

  /** The text that `token` completes; empty while a character is in the making. */
  add(token: number): string {
    this.tokens.push(token)
    const piece = this.pending()
    // Four bytes make a character; what is still none then stays broken.
    if (piece.endsWith(incomplete) && this.tokens.length - this.done < 4) return ''
    return this.take(piece)
  }

  /** What is left, complete or not. */
  end(): string {
    return this.take(this.pending())
  }

  private pending(): string {
    const from = Math.max(0, this.done - OVERLAP)
    const known = this.tokenizer.decode(this.tokens.slice(from, this.done))
    return this.tokenizer.decode(this.tokens.slice(from)).slice(known.length)
  }

  private take(piece: string): string {
    this.done = this.tokens.length
    this.text += piece
    return piece
  }
}
