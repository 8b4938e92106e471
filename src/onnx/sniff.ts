/** What a file that is not a model seems to be, for the error message. */

const starts = (bytes: Uint8Array, text: string): boolean =>
  [...text].every((character, index) => bytes[index] === character.charCodeAt(0))

export function describeContent(bytes: Uint8Array): string | undefined {
  if (starts(bytes, 'version https://git-lfs'))
    return 'it is a Git LFS pointer, not the file itself'
  if (starts(bytes, 'PK\u0003\u0004')) return 'it is a zip archive (a PyTorch checkpoint, perhaps)'
  if (starts(bytes, 'GGUF')) return 'it is a GGUF file'
  if (starts(bytes, '\u0080\u0002') || starts(bytes, '\u0080\u0004')) return 'it is a Python pickle'
  if (starts(bytes, '<')) return 'it is an HTML or XML page'
  if (starts(bytes, '{')) return 'it is a JSON text'
  if (starts(bytes, '\u001f\u008b')) return 'it is a gzip archive'
  const head = bytes.subarray(0, 256)
  const isText = head.every(
    (byte) => byte === 9 || byte === 10 || byte === 13 || (byte > 31 && byte < 127),
  )
  return isText ? 'it is a text file' : undefined
}
