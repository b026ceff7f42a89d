/** `sallyport schema`: prints the JSON Schema of the configuration file, for editors. */
import { configJsonSchema } from '../config/reference.ts';

export function schema(): void {
  console.log(JSON.stringify(configJsonSchema(), undefined, 2));
}
