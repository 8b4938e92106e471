/** Why a block is left alone. */
export class Unreadable extends Error {}
