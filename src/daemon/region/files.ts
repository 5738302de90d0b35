/**
 * What a host in a region keeps beside its store, in the folder `region`: its certificate (CredentialFiles), what its etcd is started with, and
 * region.json: who this host is, and the membership as it was last known, which is where a start begins. Nothing in region.json is secret; the
 * zone, the role and the rules of the quorum stand in the region's own record alone.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { fromBase64url, toBase64url } from '../../base/bytes.js';
import { QuorateError } from '../../base/errors.js';
import { decodeRegion, encodeRegion, type RegionRecord } from '../../region/membership.js';
import { CredentialFiles } from '../../region/trust/credentials.js';
import { isLabel, splitAddress } from '../../region/trust/names.js';
import { storeError, syncFolder } from '../seal/document.js';

const FORMAT = 'quorate-region';
const VERSION = 1;
const BYTES_MAX = 1024 * 1024;
/** Of an incarnation: its counter, and what sets two of one counter apart. */
const HOME = /^(?:[1-9][0-9]{0,15}-[0-9a-f]{8})?$/;

/** host:port each; '' for what this host does not have. */
export interface OwnAddresses {
  readonly peer: string;
  readonly engine: string;
  readonly enginePeer: string;
}

export interface RegionFile {
  /** preparing: region init has written the files, and waits for the engine; the host still serves its own store. */
  readonly state: 'preparing' | 'member';
  /** This host's name. */
  readonly host: string;
  readonly addresses: OwnAddresses;
  readonly record: RegionRecord;
  /** The folder of the incarnation's certificates and engine data within `region`; '': that folder itself, where a region begins, and a host that joins. */
  readonly home: string;
  /** A later incarnation's word that this one is over (src/region/succession.ts). null: none has been heard of. */
  readonly superseded: Uint8Array | null;
}

/** What belongs to one incarnation of the region on this host. */
export interface IncarnationFiles {
  readonly credentials: CredentialFiles;
  readonly engineData: string;
}

export class RegionFiles {
  readonly folder: string;
  readonly file: string;
  /** etcd's settings, as an environment file. */
  readonly engineSettings: string;
  /** A rebuild that is under way: what region.json will say. */
  readonly nextFile: string;
  #current: IncarnationFiles;
  #home = '';

  constructor(store: string) {
    this.folder = path.join(store, 'region');
    this.file = path.join(this.folder, 'region.json');
    this.nextFile = path.join(this.folder, 'rebuild.json');
    this.engineSettings = path.join(this.folder, 'etcd.env');
    this.#current = this.of('');
  }

  of(home: string): IncarnationFiles {
    const folder = path.join(this.folder, home);
    return { credentials: new CredentialFiles(folder), engineData: path.join(folder, 'etcd') };
  }

  /** The same object for as long as the incarnation is the same. */
  #use(home: string): void {
    if (home !== this.#home) this.#current = this.of(home);
    this.#home = home;
  }

  /** Of the incarnation that region.json names. */
  get credentials(): CredentialFiles {
    return this.#current.credentials;
  }

  get engineData(): string {
    return this.#current.engineData;
  }

  /** null: this host is in no region. STORE_CORRUPT, STORE_SCHEMA_NEWER, STORE_IO */
  load(): RegionFile | null {
    const file = this.#read(this.file);
    this.#use(file?.home ?? '');
    return file;
  }

  /** null: no rebuild is under way. */
  loadNext(): RegionFile | null {
    return this.#read(this.nextFile);
  }

  #read(file: string): RegionFile | null {
    let bytes: Buffer;
    try {
      bytes = readFileSync(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw storeError(file, error);
    }
    return parse(bytes.toString('utf8', 0, BYTES_MAX), file);
  }

  /** Durable when it returns; a reader at any instant sees the old file or the new one. STORE_IO, STORE_FULL */
  save(file: RegionFile): void {
    this.#replace(this.file, textOf(file));
    this.#use(file.home);
  }

  /** null: it is over. */
  saveNext(file: RegionFile | null): void {
    if (file === null) rmSync(this.nextFile, { force: true });
    else this.#replace(this.nextFile, textOf(file));
  }

  /** STORE_IO, STORE_FULL */
  saveEngine(settings: string): void {
    this.#replace(this.engineSettings, settings);
  }

  #replace(file: string, text: string): void {
    const beside = `${file}.new`;
    try {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      rmSync(beside, { force: true });
      const fd = openSync(beside, 'wx', 0o600);
      try {
        const bytes = Buffer.from(text);
        for (let at = 0; at < bytes.byteLength; ) at += writeSync(fd, bytes, at);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(beside, file);
      syncFolder(this.folder);
      syncFolder(path.dirname(this.folder));
    } catch (error) {
      throw storeError(file, error);
    }
  }

  /** After a join that failed. Never where an engine holds data: that is the region's. */
  remove(): void {
    for (const file of [this.file, this.engineSettings, this.credentials.certificate, this.credentials.ca, this.credentials.key]) rmSync(file, { force: true });
  }
}

function textOf({ state, host, addresses, record, home, superseded }: RegionFile): string {
  const { peer, engine, enginePeer } = addresses;
  const text = {
    format: FORMAT, version: VERSION, state, region: record.region, host, addresses: { peer, engine, enginePeer }, membership: toBase64url(encodeRegion(record)),
    ...(home === '' ? {} : { home }), ...(superseded === null ? {} : { superseded: toBase64url(superseded) }),
  };
  return `${JSON.stringify(text, null, 2)}\n`;
}

function parse(text: string, file: string): RegionFile {
  const bad = (fact: string): never => { throw new QuorateError('STORE_CORRUPT', `${file}: ${fact}`); };
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return bad('it is cut short or not JSON');
  }
  if (typeof value !== 'object' || value === null || value['format'] !== FORMAT) return bad(`it is not a ${FORMAT} file`);
  const { version, state, host, membership } = value;
  if (typeof version === 'number' && version > VERSION) throw new QuorateError('STORE_SCHEMA_NEWER', `${file} has version ${version}; this release knows ${VERSION}`);
  const given = (value['addresses'] ?? {}) as Record<string, unknown>;
  const [peer, engine, enginePeer] = ['peer', 'engine', 'enginePeer'].map((name) => given[name]);
  if (version !== VERSION || (state !== 'preparing' && state !== 'member') || typeof host !== 'string' || !isLabel(host)) return bad('a field has a value that is not allowed');
  if (typeof peer !== 'string' || typeof engine !== 'string' || typeof enginePeer !== 'string') return bad('its addresses');
  const record = typeof membership === 'string' ? fromBase64url(membership) : null;
  if (record === null) return bad('its membership');
  const { home = '', superseded = '' } = value;
  const told = typeof superseded === 'string' ? fromBase64url(superseded) : null;
  if (typeof home !== 'string' || !HOME.test(home) || told === null) return bad('its incarnation');
  for (const address of [peer, engine, enginePeer]) if (address !== '') splitAddress(address);
  return { state, host, addresses: { peer, engine, enginePeer }, record: decodeRegion(record), home, superseded: told.length === 0 ? null : told };
}
