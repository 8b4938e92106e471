/** A `tokenizer.json` that splits text at spaces; what it doesn't know is the token `unknown`. */
export const wordTokenizer = (
  vocabulary: Readonly<Record<string, number>>,
  unknown: string,
): string =>
  JSON.stringify({
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', vocab: vocabulary, unk_token: unknown },
  })
