/** The client's side of streams: chunk lengths, the last one's mark, order, how much is under way, and ends that come early. */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert } from 'chai';
import fc from 'fast-check';
import { connect, type QuorateClient } from '../../src/client/index.js';
import { ByteReader } from '../../src/client/streams.js';
import { rejects } from './rejects.js';
import { type Asked, ScriptedServer } from './scripted.js';

const CHUNK = 1000;

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

describe('client streams', () => {
  let server: ScriptedServer;
  let client: QuorateClient;
  let most = 0;
  let underWay = 0;
  before(async () => {
    server = await new ScriptedServer().start();
    server.hello = { inFlightMax: 64 };
    client = await connect({ socket: server.socket });
  });
  after(async () => {
    await client.close();
    await server.remove();
  });
  const chunks = (): { data: Uint8Array; last: boolean }[] => server.asked.filter((a) => a.name === 'StreamChunk').map((a) => a.request);
  const answer = (a: Asked): void => {
    if (a.name === 'EncryptStream') a.reply('EncryptStream', { stream: 7n, header: new Uint8Array(80).fill(1), chunkBytes: CHUNK });
    else if (a.name === 'DecryptStream') a.reply('DecryptStream', { stream: 8n, chunkBytes: CHUNK });
    else if (a.name === 'StreamClose') a.reply('StreamClose', {});
    else {
      most = Math.max(most, ++underWay);
      setImmediate(() => {
        underWay--;
        const data: Uint8Array = a.request.data;
        a.reply('StreamChunk', { data: a.request.stream === 7n ? Buffer.concat([data, new Uint8Array(16)]) : data.subarray(0, -16) });
      });
    }
  };
  beforeEach(() => {
    server.asked.length = 0;
    server.onAsked = answer;
    most = 0;
  });

  for (const length of [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK, 10 * CHUNK + 5]) {
    it(`cuts ${length} bytes into whole chunks and a marked last one`, async () => {
      const input = Buffer.alloc(length, 'quorate');
      const sealed = await collect(client.encryptStream('k', Readable.from([input.subarray(0, 300), input.subarray(300)])));
      const sent = chunks();
      assert.equal(sent.length, Math.max(1, Math.ceil(length / CHUNK)));
      assert.isTrue(sent.slice(0, -1).every((c) => !c.last && c.data.byteLength === CHUNK));
      assert.isTrue(sent.at(-1)!.last);
      assert.equal(sealed.byteLength, 80 + length + 16 * sent.length);
      server.asked.length = 0;
      const opened = await collect(client.decryptStream([sealed]));
      assert.isTrue(opened.equals(input));
      assert.isTrue(chunks().at(-1)!.last);
    });
  }

  it('keeps a few chunks under way, no more', async () => {
    await collect(client.encryptStream('k', [new Uint8Array(100 * CHUNK)]));
    assert.isAtLeast(most, 2);
    assert.isAtMost(most, 4);
  });

  it('reads no further than its consumer', async () => {
    let given = 0;
    const source = (async function* () { for (; given < 1000; given++) yield new Uint8Array(CHUNK); })();
    const sealed = client.encryptStream('k', source)[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) await sealed.next();
    await sleep(30);
    assert.isAtMost(given, 10);
    await sealed.return(undefined);
    await sleep(30);
    assert.equal(server.names().at(-1), 'StreamClose');
    assert.isAtMost(given, 10);
  });

  it('passes on the source\'s error and closes the stream', async () => {
    const source = (async function* () { yield new Uint8Array(3 * CHUNK); throw new Error('disk gone'); })();
    let seen: unknown;
    await collect(client.encryptStream('k', source)).catch((error) => { seen = error; });
    assert.equal((seen as Error).message, 'disk gone');
    await sleep(30);
    assert.equal(server.names().at(-1), 'StreamClose');
  });

  it('ends at a chunk that does not open', async () => {
    let count = 0;
    server.onAsked = (a) => { if (a.name === 'StreamChunk' && ++count === 3) a.fail('CIPHERTEXT_INVALID'); else answer(a); };
    const got: number[] = [];
    const run = (async () => { for await (const part of client.decryptStream([new Uint8Array(80 + 10 * (CHUNK + 16))])) got.push(part.byteLength); })();
    await rejects(run, 'CIPHERTEXT_INVALID');
    assert.deepEqual(got, [CHUNK, CHUNK]);
  });

  it('sends no chunk twice: a refused one ends the stream', async () => {
    let count = 0;
    server.onAsked = (a) => { if (a.name === 'StreamChunk' && ++count === 2) a.fail('BUSY'); else answer(a); };
    await rejects(collect(client.encryptStream('k', [new Uint8Array(5 * CHUNK)])), 'BUSY');
    assert.isAtMost(chunks().length, 5);
  });

  it('takes a source that uses its memory again', async () => {
    for (const size of [CHUNK, 3 * CHUNK, 333]) {
      const input = Buffer.alloc(7 * size, 'quorate');
      const source = (async function* () {
        const one = new Uint8Array(size);
        for (let at = 0; at < input.byteLength; at += size) {
          one.set(input.subarray(at, at + size));
          yield one;
          one.fill(0xee);
        }
      })();
      server.asked.length = 0;
      await collect(client.encryptStream('k', source));
      assert.isTrue(Buffer.concat(chunks().map((c) => c.data)).equals(input), `${size}`);
    }
  });

  it('takes web streams', async () => {
    const web = new ReadableStream<Uint8Array>({ start(c) { c.enqueue(new Uint8Array(2 * CHUNK)); c.close(); } });
    assert.equal((await collect(client.encryptStream('k', web as unknown as AsyncIterable<Uint8Array>))).byteLength, 80 + 2 * (CHUNK + 16));
  });

  it('refuses a source of something else', async () => {
    await rejects(collect(client.encryptStream('k', ['text'] as never)), 'BAD_REQUEST');
  });

  it('reads any cut into any lengths', async () => {
    await fc.assert(fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 10 }), fc.array(fc.integer({ min: 1, max: 25 }), { minLength: 1 }), async (parts, lengths) => {
      const whole = Buffer.concat(parts);
      const reader = new ByteReader(parts);
      let at = 0;
      for (let i = 0; !(await reader.atEnd()); i++) {
        const n = lengths[i % lengths.length]!;
        const piece = await reader.take(n);
        assert.isTrue(whole.subarray(at, at + n).equals(piece));
        at += piece.byteLength;
      }
      assert.equal(at, whole.byteLength);
    }));
  });
});
