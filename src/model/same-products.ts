/** A product and those that do it again in another branch of an If: they read the same weight. */
import type { Node, Value } from '../graph/graph.js'

/** `product` first. */
export function sameProducts(product: Node): readonly Node[] {
  const weights = product.inputs.flatMap((input) => (input && constantOf(input)) ?? [])
  const again = weights
    .flatMap(({ uses }) => [...uses].flatMap(({ node }) => readersOf(node)))
    .filter(
      (node) =>
        node.op === product.op && node.branch?.isAgain !== product.branch?.isAgain && node.branch,
    )
  return [product, ...new Set(again)]
}

/** A weight, as it is or behind a Transpose. Vectors are biases, which other products may read too. */
function constantOf(value: Value): Value | undefined {
  const { producer } = value
  const source = producer?.op === 'Transpose' ? producer.inputs[0] : value
  return source?.constant && source.constant.dims.length > 1 ? source : undefined
}

const readersOf = (node: Node): readonly Node[] =>
  node.op === 'Transpose' ? [...(node.outputs[0]?.uses ?? [])].map((use) => use.node) : [node]
