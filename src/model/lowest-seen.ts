/** At or below, a number that is added to a score hides it, and a score counts as hidden. */
export const lowestSeen = -9999
