/** What a learned constant does; named in flags. */
export const weightRoles = [
  'attention',
  'feedForward',
  'others',
  'embeddings',
  'norms',
  'biases',
] as const
export type WeightRole = (typeof weightRoles)[number]
