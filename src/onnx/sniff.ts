/**
 * What a file that is not an ONNX model seems to be, from its first bytes, so that an error can say it.
 * Guesses only; the decoder has the last word.
 */

/** A name for what the file looks like, or undefined where it may be a model. */
export function sniff(head: Uint8Array): string | undefined {
  if (head.length === 0) return 'an empty file'
  const text = Buffer.from(head.subarray(0, 512)).toString('latin1')
  if (text.startsWith('version https://git-lfs'))
    return 'a Git LFS pointer, not the file it points to'
  if (text.startsWith('PK\x03\x04')) return 'a zip archive (a PyTorch checkpoint or a package)'
  if (text.startsWith('\x1f\x8b')) return 'a gzip archive'
  if (text.startsWith('\x89HDF')) return 'an HDF5 file (Keras)'
  if (text.startsWith('\x93NUMPY')) return 'a NumPy array'
  if (text.startsWith('GGUF')) return 'a GGUF file (llama.cpp)'
  if (text.slice(4, 8) === 'TFL3') return 'a TensorFlow Lite model'
  if (text.slice(4, 8) === 'ORTM') return 'an ORT format model (.ort), which is already compiled'
  if (text.startsWith('\x80\x02') || text.startsWith('\x80\x04')) return 'a Python pickle'
  if (/^.{8}\{"/s.test(text) && text[7] === '\0') return 'a safetensors file'
  if (/^\s*<\s*ir_version/.test(text)) return 'ONNX text, not the binary format'
  if (/^\s*ir_version\s*:/.test(text)) return 'protobuf text, not the binary format'
  if (/^\s*[[{]/.test(text) && isPrintable(text)) return 'JSON'
  if (/^\s*<(!doctype|html)/i.test(text)) return 'a web page (a failed download?)'
  if (isPrintable(text)) return 'a text file'
  return undefined
}

/** Text: no control characters but white space. A model starts with 0x08 (its IR version). */
const isPrintable = (text: string): boolean =>
  [...text].every((character) => character >= ' ' || '\t\n\r\f'.includes(character))
