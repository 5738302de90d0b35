/**
 * What a key daemon in plain Node would be: `net`, protobuf-es, and node:crypto or WebCrypto. Speaks enough of Quorate's
 * frames for the driver (Hello, CreateSessionKey, Encrypt, Sign), written as its author would write it: parse all that is
 * there, cork, answer. Usage: node node_daemon.js SOCKET crypto|webcrypto
 */
import { createCipheriv, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign, webcrypto } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import * as pb from '../../src/protocol/gen/quorate_pb.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

const [path = '/tmp/node-daemon.sock', mode = 'crypto'] = process.argv.slice(2);

function frame(id: number, method: number, body: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(12 + body.length);
  out.writeUInt32LE(8 + body.length, 0);
  out.writeUInt32LE(id, 4);
  out.writeUInt16LE(method, 8);
  out.writeUInt16LE(0, 10);
  out.set(body, 12);
  return out;
}

class Connection {
  private pending: Buffer = Buffer.alloc(0);
  private aes: Buffer = Buffer.alloc(0);
  private subtleAes: webcrypto.CryptoKey | undefined;
  private ec: KeyObject | undefined;
  private subtleEc: webcrypto.CryptoKey | undefined;

  constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => this.data(chunk));
    socket.on('error', () => socket.destroy());
  }

  private data(chunk: Buffer): void {
    this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    let at = 0;
    this.socket.cork();
    while (this.pending.length - at >= 12) {
      const length = this.pending.readUInt32LE(at);
      if (this.pending.length - at < 4 + length) break;
      this.request(this.pending.readUInt32LE(at + 4), this.pending.readUInt16LE(at + 8), this.pending.subarray(at + 12, at + 4 + length));
      at += 4 + length;
    }
    this.pending = this.pending.subarray(at);
    this.socket.uncork();
  }

  private answer<T extends DescMessage>(id: number, method: number, schema: T, message: MessageShape<T>): void {
    this.socket.write(frame(id, method, toBinary(schema, message)));
  }

  private request(id: number, method: number, body: Uint8Array): void {
    switch (method) {
      case OPERATIONS.Hello.id:
        this.answer(id, method, pb.HelloResponseSchema, create(pb.HelloResponseSchema, { version: 1 }));
        return;
      case OPERATIONS.CreateSessionKey.id:
        void this.createKey().then(() => this.answer(id, method, pb.SessionKeyResponseSchema, create(pb.SessionKeyResponseSchema, { key: 'session:1' })));
        return;
      case OPERATIONS.Encrypt.id:
        this.encrypt(id, method, fromBinary(pb.EncryptRequestSchema, body));
        return;
      case OPERATIONS.Sign.id:
        this.sign(id, method, fromBinary(pb.SignRequestSchema, body));
        return;
      default:
        this.socket.destroy();
    }
  }

  private async createKey(): Promise<void> {
    this.aes = randomBytes(32);
    this.subtleAes = await webcrypto.subtle.importKey('raw', this.aes, 'AES-GCM', false, ['encrypt']);
    const pem = generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'der' }, publicKeyEncoding: { type: 'spki', format: 'der' } });
    this.ec = createPrivateKey({ key: pem.privateKey, format: 'der', type: 'pkcs8' });
    this.subtleEc = await webcrypto.subtle.importKey('pkcs8', pem.privateKey, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
  }

  private encrypt(id: number, method: number, request: pb.EncryptRequest): void {
    const iv = randomBytes(12);
    if (mode === 'webcrypto') {
      void webcrypto.subtle.encrypt({ name: 'AES-GCM', iv }, this.subtleAes!, new Uint8Array(request.plaintext)).then((sealed) =>
        this.answer(id, method, pb.EncryptResponseSchema, create(pb.EncryptResponseSchema, { ciphertext: new Uint8Array(sealed), iv })));
      return;
    }
    const cipher = createCipheriv('aes-256-gcm', this.aes, iv);
    const body = cipher.update(request.plaintext);
    cipher.final();
    this.answer(id, method, pb.EncryptResponseSchema, create(pb.EncryptResponseSchema, { ciphertext: Buffer.concat([body, cipher.getAuthTag()]), iv }));
  }

  private sign(id: number, method: number, request: pb.SignRequest): void {
    if (mode === 'webcrypto') {
      void webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, this.subtleEc!, new Uint8Array(request.message)).then((signature) =>
        this.answer(id, method, pb.SignResponseSchema, create(pb.SignResponseSchema, { signature: new Uint8Array(signature) })));
      return;
    }
    this.answer(id, method, pb.SignResponseSchema, create(pb.SignResponseSchema, { signature: sign('sha256', request.message, this.ec!) }));
  }
}

rmSync(path, { force: true });
createServer((socket) => new Connection(socket)).listen(path, () => process.stdout.write('ready\n'));
