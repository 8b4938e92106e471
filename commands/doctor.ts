import { BaseCommand } from '../src/cli/base-command.js'
import type { Diagnosis } from '../src/cli/run-doctor.js'

export default class Doctor extends BaseCommand {
  static override summary = 'Say what works on this machine, and how to get the rest.'
  static override examples = ['<%= config.bin %> doctor', '<%= config.bin %> doctor --json']

  async run(): Promise<Diagnosis> {
    await this.parse(Doctor)
    const { describeDiagnosis, diagnose } = await import('../src/cli/run-doctor.js')
    const found = await diagnose()
    for (const line of describeDiagnosis(found)) this.log(line)
    return found
  }
}
