import { LIMITS } from '../base/limits.js';
import type { OperationContext } from './context.js';

/** The values of every record of a kind, by id. For kinds that are kept in memory anyway. STORE_CORRUPT, STORE_IO */
export async function readAll(context: OperationContext, domain: string, kind: string): Promise<Uint8Array[]> {
  const values: Uint8Array[] = [];
  let after = '';
  do {
    const page = await context.store.list(domain, kind, { after, limit: LIMITS.page_size_max });
    for (const { value } of page.records) values.push(value);
    after = page.after;
  } while (after !== '');
  return values;
}
