/** Requests to one bucket: the client for it, made anew when the credentials change, and how often and how long a request is tried. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { assert } from '../../base/assert.js';
import { QuorateError } from '../../base/errors.js';
import type { Credentials, CredentialSource } from './credentials.js';
import { judge } from './s3Faults.js';

export type Sdk = typeof import('@aws-sdk/client-s3');

export interface S3Place {
  /** `https://host:port`, without a path. */
  readonly endpoint: string;
  readonly bucket: string;
  /** '' or a name without a slash at its end. */
  readonly prefix: string;
  readonly region: string;
  /** Authorities instead of the system's, PEM; '' for the system's. */
  readonly caFile: string;
}

export interface S3Times {
  readonly connectMs: number;
  /** A connection on which nothing moved for so long is dead. */
  readonly silenceMs: number;
  /** No further try begins later after the first failure. */
  readonly triesMs: number;
  readonly pauseMsMin: number;
  readonly pauseMsMax: number;
}

export const S3_TIMES: S3Times = { connectMs: 5_000, silenceMs: 10_000, triesMs: 20_000, pauseMsMin: 200, pauseMsMax: 5_000 };

let loading: Promise<Sdk> | null = null;

/** Only where a destination needs it: it takes a fifth of a second and 20 MB of memory. */
async function loadSdk(): Promise<Sdk> {
  // It would warn on standard error of a Node that this release of it supports.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  loading ??= import('@aws-sdk/client-s3');
  return loading;
}

export class S3Requests {
  readonly place: S3Place;
  /** `NAME (s3 https://...)`, for messages. */
  readonly who: string;
  readonly times: S3Times;
  readonly #source: CredentialSource;
  #credentials: Credentials | null = null;
  #client: S3Client | null = null;
  /** When the server answered, by its own clock, in ms; by the metadata of the answer. */
  readonly #dates = new WeakMap<object, number>();
  #closed = false;

  constructor(who: string, place: S3Place, source: CredentialSource, times: S3Times) {
    this.who = who;
    this.place = place;
    this.times = times;
    this.#source = source;
  }

  /**
   * Tries until it succeeds, until it would fail again, or until the time is over. `use` sends what it sends with the client, and reads all of
   * the answer: it is called for each try. `expected` are failures that the caller wants as they are.
   */
  async attempt<T>(what: string, use: (client: S3Client, sdk: Sdk) => Promise<T>, expected: (error: unknown) => boolean = () => false, once = false): Promise<T> {
    let failing: number | null = null;
    const sdk = await loadSdk();
    for (let tried = 1; ; tried++) {
      try {
        return await use(await this.#connect(sdk), sdk);
      } catch (error) {
        if (expected(error)) throw error;
        const verdict = judge(error);
        if (verdict === null) throw error;
        failing ??= performance.now();
        const pauseMs = Math.min(this.times.pauseMsMax, this.times.pauseMsMin * 2 ** (tried - 1)) * (0.5 + Math.random() / 2);
        if (once || tried >= verdict.triesMax || this.#closed || performance.now() - failing + pauseMs > this.times.triesMs) {
          throw new QuorateError(verdict.code, `${this.who}: ${what}: ${verdict.reason}${tried > 1 ? ` (tried ${tried} times)` : ''}`, { cause: withoutRequest(error) });
        }
        await sleep(pauseMs);
      }
    }
  }

  /** The server's time of an answer, in ms; NaN when it gave none. */
  dateOf(answer: { readonly $metadata: object }): number {
    return this.#dates.get(answer.$metadata) ?? Number.NaN;
  }

  close(): void {
    this.#closed = true;
    this.#client?.destroy();
    this.#client = null;
  }

  async #connect(sdk: Sdk): Promise<S3Client> {
    const credentials = await this.#source.current();
    if (this.#client !== null && credentials === this.#credentials) return this.#client;
    const previous = this.#client;
    this.#client = this.#made(sdk, credentials);
    this.#credentials = credentials;
    previous?.destroy();
    return this.#client;
  }

  #made(sdk: Sdk, credentials: Credentials): S3Client {
    const { connectMs, silenceMs } = this.times;
    const client = new sdk.S3Client({
      // All that it would otherwise look for in files and variables of the machine's user.
      endpoint: this.place.endpoint, region: this.place.region, forcePathStyle: true, maxAttempts: 1, retryMode: 'standard', defaultsMode: 'standard',
      useDualstackEndpoint: false, useFipsEndpoint: false, useAccelerateEndpoint: false, useArnRegion: false, disableMultiregionAccessPoints: true, disableS3ExpressSessionAuth: true, userAgentAppId: 'quorate',
      authSchemePreference: ['sigv4'], sigv4aSigningRegionSet: [this.place.region], disableClockSkewCorrection: false,
      credentials: { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey, ...(credentials.sessionToken === '' ? {} : { sessionToken: credentials.sessionToken }) },
      // Otherwise bodies are sent in a framing that few others than Amazon read.
      requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: connectMs, socketTimeout: silenceMs, httpsAgent: { keepAlive: true, maxSockets: 16, minVersion: 'TLSv1.2', ...this.#authorities() } },
    });
    client.middlewareStack.add((next) => async (args) => {
      const result = await next(args);
      const headers = (result.response as { headers?: Record<string, string> }).headers ?? {};
      const metadata = (result.output as { $metadata?: object }).$metadata;
      if (metadata !== undefined) this.#dates.set(metadata, Date.parse(headers['date'] ?? ''));
      return result;
    }, { step: 'deserialize', priority: 'high', name: 'quorateDate' });
    return client;
  }

  #authorities(): { ca?: string } {
    if (this.place.caFile === '') return {};
    try {
      const ca = readFileSync(this.place.caFile, 'ascii');
      if (!ca.includes('-----BEGIN CERTIFICATE-----')) throw new QuorateError('BACKUP_REFUSED', `${this.who}: ca_file ${this.place.caFile} has no certificate in PEM`);
      return { ca };
    } catch (error) {
      if (error instanceof QuorateError) throw error;
      throw new QuorateError('BACKUP_REFUSED', `${this.who}: ca_file ${this.place.caFile} cannot be read (${(error as NodeJS.ErrnoException).code})`, { cause: error });
    }
  }
}

/** Errors of the SDK carry the whole answer, and an answer to a wrong signature quotes what was signed. */
function withoutRequest(error: unknown): Error {
  assert(error instanceof Error, 'a failure that was judged is an error');
  const bare = new Error(error.name);
  bare.name = error.name;
  return bare;
}
