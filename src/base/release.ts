/** The release, as package.json has it. dist/src/base lies three folders below the checkout. */
import { readFileSync } from 'node:fs';

export const RELEASE: string = (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;
