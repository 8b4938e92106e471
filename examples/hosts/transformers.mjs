/**
 * Loads a folder that attnc wrote with transformers.js, offline, and continues a prompt by the most likely
 * tokens: the ids that `attnc generate FOLDER --prompt PROMPT --max-tokens COUNT --json` says.
 *
 *     npm install @huggingface/transformers
 *     node transformers.mjs smaller/ 'Once upon a time' 24
 */
import { readFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { AutoModelForCausalLM, env, PreTrainedTokenizer } from '@huggingface/transformers'

const [folder = '.', prompt = '', count = '24'] = process.argv.slice(2)
const path = resolve(folder)
env.allowRemoteModels = false
env.localModelPath = dirname(path)

const tokenizer = new PreTrainedTokenizer(
  JSON.parse(readFileSync(join(path, 'tokenizer.json'), 'utf8')),
  {},
)
const model = await AutoModelForCausalLM.from_pretrained(basename(path), {
  // The file that has the cache, beside the configs and not in onnx/.
  subfolder: '',
  model_file_name: 'model_with_past',
  dtype: 'fp32',
  use_external_data_format: false,
})
const inputs = tokenizer(prompt, { add_special_tokens: false })
const output = await model.generate({
  ...inputs,
  max_new_tokens: Number(count),
  do_sample: false,
})
const ids = output.tolist()[0].slice(inputs.input_ids.dims[1]).map(Number)
process.stdout.write(
  `${JSON.stringify({ ids, text: tokenizer.decode(ids, { skip_special_tokens: true }) })}\n`,
)
