/** Where a model can run, and why elsewhere it can't. */
export type ProviderName = 'cpu' | 'cuda' | 'webgpu'
