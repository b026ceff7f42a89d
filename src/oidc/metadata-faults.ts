/** Why there is no metadata of the provider. Their messages are for the operator. */

/** A document that the operator has to put right: trying again doesn't help. */
export class UnusableMetadata extends Error {
  override readonly name = 'UnusableMetadata';
}

/** No document for now: the provider is down, or says that it is. */
export class MissingMetadata extends Error {
  override readonly name = 'MissingMetadata';
}
