/** Names of the index columns of a data file, in file order. */
export const INDEX_COLUMNS = ['sequence', 'position', 'token_id', 'step'] as const;
