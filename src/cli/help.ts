/** oclif's help, and what to type first for those who typed nothing. */
import { Help as OclifHelp } from '@oclif/core/help'

const firstSteps = `START HERE
  attnc inspect MODEL                           what a model is made of and what may go
  attnc prune MODEL --data text.txt -o smaller  make it smaller; nothing is written unless it checks
  attnc prune --help                            ratio, criteria, conditions, with examples
  attnc doctor                                  where models can run on this machine

  MODEL is an .onnx file, or a folder with its tokenizer.json and config.json.`

export default class Help extends OclifHelp {
  override formatRoot(): string {
    return `${super.formatRoot()}\n\n${firstSteps}`
  }
}
