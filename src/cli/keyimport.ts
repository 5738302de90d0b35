/** `quorate key import`: material in the clear, material that was wrapped outside, and what `key export` wrote. */
import { type Command, Option } from 'commander';
import { QuorateError } from '../base/errors.js';
import type { KeyAttributes } from '../client/index.js';
import { parseExport } from '../protocol/exportDocument.js';
import { HASHES, type HashName, MATERIAL_FORMATS, type MaterialFormatName, WRAP_MECHANISMS, type WrapMechanismName } from '../protocol/names.js';
import { type AttributeOptions, attributesOf, refuseExisting, withAttributes } from './attributes.js';
import { openSource, readWhole } from './files.js';
import { printChange } from './keytext.js';
import { act, type Session } from './session.js';

const MATERIAL_BYTES_MAX = 64 * 1024;
/** A thousand versions of the largest keys. */
const DOCUMENT_BYTES_MAX = 6 * 1024 * 1024;
/** HPKE needs to know what it opens, which a document says. */
const MECHANISMS = Object.keys(WRAP_MECHANISMS).filter((name) => name !== 'hpke');

interface ImportOptions extends Omit<AttributeOptions, 'type'> {
  type?: AttributeOptions['type'];
  wrappedBy?: string;
  mechanism?: WrapMechanismName;
  hash?: HashName;
  context?: string;
  export?: string;
  newId?: boolean;
  passphraseFile?: string;
}

export function addKeyImport(key: Command): void {
  withAttributes(key.command('import').description('import a key from a file'), false)
    .argument('[name]', 'its name; of a document: instead of the one in it')
    .argument('[file]', 'the material; - or nothing: standard input')
    .option('--passphrase-file <file>', 'of an encrypted private key; else it is asked for')
    .option('--wrapped-by <key>', 'the file is wrapped to that key\'s public half, or by that key: it is opened in the daemon')
    .addOption(new Option('--mechanism <mechanism>', 'how it was wrapped; default: what the scheme of the wrapping key does').choices(MECHANISMS))
    .addOption(new Option('--hash <hash>', 'rsa: OAEP\'s and MGF1\'s; default sha-256').choices(Object.keys(HASHES)))
    .option('--context <text>', 'what it was wrapped with; rsa-oaep: label')
    .option('--export <file>', 'a document of quorate key export, instead of the file: the key with all its versions and its id')
    .option('--new-id', 'with --export: it gets another id, and opens nothing that a managed one has encrypted')
    .option('--no-exportable', 'with --export: it stays here from now on; else it may leave again, as it did')
    .addHelpText('after', '\nWith --format raw, pkcs8, spki, pem or jwk: the form of the material; default pem, of wrapped material raw or pkcs8 by its type.\nA JWK says its type itself. The file is left as it is: remove it when the key is in use.')
    .action(act(importKey, [...Object.keys(MATERIAL_FORMATS), 'pem', 'jwk']));
}

async function importKey(session: Session, name: string | undefined, file: string | undefined, options: ImportOptions): Promise<void> {
  const stray = strayOption(options, file);
  if (stray !== null) throw new QuorateError('USAGE', stray);
  if (options.export !== undefined) return importExport(session, name, options.export, options);
  if (name === undefined) throw new QuorateError('USAGE', 'missing required argument \'name\'');
  if (options.wrappedBy !== undefined) return importWrapped(session, name, file, options);
  return importClear(session, name, file, options);
}

/** Options that go with others only: else somebody believes that they counted. */
function strayOption({ wrappedBy, mechanism, hash, context, export: exported, newId, type, scheme, preActive }: ImportOptions, file: string | undefined): string | null {
  if (exported !== undefined && wrappedBy === undefined) return '--export needs --wrapped-by, the key whose public half was the recipient';
  if (exported !== undefined && [mechanism, hash, context, type, scheme, preActive, file].some((option) => option !== undefined)) return 'a document says its type, scheme, state and mechanism itself: --export goes with a name, --label, --no-exportable and --new-id alone';
  if (exported === undefined && newId !== undefined) return '--new-id goes with --export';
  if (wrappedBy === undefined && [mechanism, hash, context].some((option) => option !== undefined)) return '--mechanism, --hash and --context go with --wrapped-by';
  return null;
}

/** For PEM, DER and raw material, which do not say all of it. USAGE */
function withType(options: ImportOptions): KeyAttributes {
  if (options.type === undefined) throw new QuorateError('USAGE', 'required option \'--type <type>\' not specified');
  return attributesOf({ ...options, type: options.type });
}

async function importClear(session: Session, name: string, file: string | undefined, options: ImportOptions): Promise<void> {
  const given = await readWhole(openSource(file), MATERIAL_BYTES_MAX);
  let material = given;
  try {
    const decoded = await decode(session, given, options);
    material = decoded.material;
    const client = await session.client();
    if (session.dryRun) {
      await refuseExisting(session, name);
      return await session.wouldDo(`import ${name}, ${decoded.attributes.type}`, { name, type: decoded.attributes.type });
    }
    await printChange(session, await client.keys.import(name, material, { ...decoded.attributes, format: decoded.format, ...session.change }));
  } finally {
    material.fill(0);
    given.fill(0);
  }
}

interface Decoded {
  readonly material: Buffer;
  readonly format: MaterialFormatName;
  readonly attributes: KeyAttributes;
}

async function decode(session: Session, given: Buffer, options: ImportOptions): Promise<Decoded> {
  const format = (session.materialFormat ?? 'pem') as MaterialFormatName | 'pem' | 'jwk';
  if (format === 'jwk') {
    const { decodeJwk } = await import('./jwk.js');
    const jwk = decodeJwk(given, options);
    return { material: jwk.material, format: jwk.format, attributes: attributesOf({ ...options, type: jwk.type, scheme: jwk.scheme }) };
  }
  const attributes = withType(options);
  if (format !== 'pem') return { material: given, format, attributes };
  const { readPem } = await import('./pem.js');
  const pem = await readPem(given, async () => (await import('./prompt.js')).readPassphrase(options.passphraseFile, false));
  return { material: pem.der, format: pem.format, attributes };
}

async function importWrapped(session: Session, name: string, file: string | undefined, options: ImportOptions): Promise<void> {
  const attributes = withType(options);
  const format = session.materialFormat;
  if (format === 'pem' || format === 'jwk' || format === 'spki') throw new QuorateError('USAGE', `wrapped material is raw or pkcs8 inside, not ${format}`);
  const wrapped = await readWhole(openSource(file), MATERIAL_BYTES_MAX);
  const client = await session.client();
  if (session.dryRun) {
    await refuseExisting(session, name);
    return session.wouldDo(`import ${name}, ${attributes.type}, wrapped by ${options.wrappedBy}`, { name, type: attributes.type });
  }
  await printChange(session, await client.keys.importWrapped(name, wrapped, {
    ...attributes, wrappingKey: options.wrappedBy!, mechanism: options.mechanism, hash: options.hash, context: options.context, format: format as MaterialFormatName | undefined, ...session.change,
  }));
}

async function importExport(session: Session, name: string | undefined, file: string, options: ImportOptions): Promise<void> {
  const document = await readWhole(openSource(file), DOCUMENT_BYTES_MAX);
  const from = parseExport(document);
  const client = await session.client();
  if (session.dryRun) {
    await refuseExisting(session, name ?? from.name);
    return session.wouldDo(`import ${name ?? from.name}, ${from.type}, ${from.versions.length} versions`, { name: name ?? from.name, id: from.id, type: from.type });
  }
  const { label, exportable, newId } = options;
  const change = await client.keys.importExported(document, { name, labels: label, exportable, newId, wrappingKey: options.wrappedBy!, ...session.change });
  await printChange(session, change);
  if (from.scheme === 'managed' && newId !== true && change.key.domain !== from.domain) process.stderr.write(`note: what it encrypted in the domain ${from.domain} is read there, and not in ${change.key.domain}\n`);
}
