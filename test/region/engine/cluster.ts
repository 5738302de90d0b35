/** Real etcd members on this machine, with certificates of a throw-away CA made by the openssl command. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../../../src/dev/ports.js';
import { EngineClient } from '../../../src/region/engine/client.js';
import type { EngineTls } from '../../../src/region/engine/endpoints.js';
import type { EngineCertificates, EngineMember } from '../../../src/region/engine/flags.js';
import { EngineProcess } from '../../../src/region/engine/process.js';
import { provideEngine } from '../../../src/region/engine/program.js';
import type { EngineProgram } from '../../../src/region/engine/program.js';
import { QuorateError } from '../../../src/base/errors.js';
import { skip } from '../../skip.js';

/** Why there is none: asking a mirror that does not answer takes long enough once. */
let missing: string | null = null;

/** etcd, or the test says skipped and why. */
export function needEngine(test: Mocha.Context): EngineProgram {
  if (missing !== null) skip(test, missing);
  try {
    return provideEngine();
  } catch (error) {
    if (!(error instanceof QuorateError) || error.code !== 'ENGINE_UNUSABLE') throw error;
    missing = error.detail;
    return skip(test, missing);
  }
}

export function temporaryFolder(name: string): string {
  return mkdtempSync(path.join(tmpdir(), `quorate-${name}-`));
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A certificate authority in a folder: Ed25519, as a region's. */
export class TestAuthority {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
    openssl('req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', this.file('ca.key'), '-out', this.file('ca.pem'), '-days', '2', '-subj', '/CN=test region');
  }

  private file(name: string): string {
    return path.join(this.folder, name);
  }

  /** As a server, at that address, and as a client. */
  issue(name: string, address = '127.0.0.1'): EngineCertificates {
    writeFileSync(this.file(`${name}.ext`), `subjectAltName=IP:${address}\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature\n`);
    openssl('req', '-new', '-newkey', 'ed25519', '-nodes', '-keyout', this.file(`${name}.key`), '-out', this.file(`${name}.csr`), '-subj', `/CN=${name}`);
    openssl('x509', '-req', '-in', this.file(`${name}.csr`), '-CA', this.file('ca.pem'), '-CAkey', this.file('ca.key'), '-CAcreateserial', '-out', this.file(`${name}.pem`), '-days', '2', '-extfile', this.file(`${name}.ext`));
    return { ca: this.file('ca.pem'), certificate: this.file(`${name}.pem`), privateKey: this.file(`${name}.key`) };
  }
}

export function tlsOf(files: EngineCertificates): EngineTls {
  return { ca: readFileSync(files.ca), certificate: readFileSync(files.certificate), privateKey: readFileSync(files.privateKey) };
}

/** So many members, every one of which can be killed, stopped and started again. */
export class TestCluster {
  readonly folder: string;
  readonly authority: TestAuthority;
  readonly program: EngineProgram;
  readonly members: EngineMember[] = [];
  readonly processes: EngineProcess[] = [];
  private readonly certificates: EngineCertificates;
  private readonly clients: EngineClient[] = [];

  private constructor(program: EngineProgram) {
    this.program = program;
    this.folder = temporaryFolder('engine');
    this.authority = new TestAuthority(path.join(this.folder, 'ca'));
    this.certificates = this.authority.issue('host');
  }

  static async start(program: EngineProgram, size: number): Promise<TestCluster> {
    const cluster = new TestCluster(program);
    const ports = await freePorts(2 * size);
    const initialCluster = Array.from({ length: size }, (_, i) => ({ name: `m${i}`, peerAddress: `127.0.0.1:${ports[i]}` }));
    for (let i = 0; i < size; i++) cluster.members.push(cluster.member(initialCluster, i, `127.0.0.1:${ports[size + i]}`, 'new'));
    await Promise.all(cluster.members.map((_, i) => cluster.run(i)));
    const client = cluster.client();
    await Promise.all(cluster.members.map((_, i) => cluster.processes[i]!.ready(client, cluster.address(i), 15_000)));
    return cluster;
  }

  private member(initialCluster: EngineMember['initialCluster'], i: number, clientAddress: string, state: 'new' | 'existing'): EngineMember {
    const { name, peerAddress } = initialCluster[i]!;
    return { name, peerAddress, clientAddresses: [clientAddress], initialCluster, state, clusterToken: 'test', dataFolder: path.join(this.folder, name), certificates: this.certificates };
  }

  /** The next member, not started: with addresses of its own, for the cluster that is there. */
  async another(): Promise<number> {
    const [peer, client] = await freePorts(2);
    const i = this.members.length;
    const initialCluster = [...this.members[0]!.initialCluster, { name: `m${i}`, peerAddress: `127.0.0.1:${peer}` }];
    this.members.push(this.member(initialCluster, i, `127.0.0.1:${client}`, 'existing'));
    return i;
  }

  address(i: number): string {
    return this.members[i]!.clientAddresses[0]!;
  }

  async run(i: number): Promise<void> {
    this.processes[i] = await EngineProcess.start(this.program, this.members[i]!, path.join(this.folder, `m${i}.log`));
  }

  /** Starts it again, until it has a leader. */
  async revive(i: number): Promise<void> {
    await this.run(i);
    await this.processes[i]!.ready(this.client(), this.address(i), 15_000);
  }

  async kill(i: number): Promise<void> {
    this.processes[i]!.signal('SIGKILL');
    await this.processes[i]!.exited;
  }

  /** Of all members, the named ones first; closed with the cluster. */
  client(...first: number[]): EngineClient {
    const order = [...first, ...this.members.keys()].filter((i, at, all) => all.indexOf(i) === at);
    const client = new EngineClient({ addresses: order.map((i) => this.address(i)), tls: tlsOf(this.certificates) });
    this.clients.push(client);
    return client;
  }

  /** Of the leader, as it and most members see it: one that was stopped takes itself for the leader for a moment. */
  async leader(): Promise<number> {
    const client = this.client();
    for (let tried = 0; tried < 200; tried++) {
      const statuses = await Promise.all(this.members.map((_, i) => client.members.status(this.address(i), 300).catch(() => null)));
      const at = statuses.findIndex((one) => one !== null && one.leaderId === one.memberId && 2 * statuses.filter((other) => other?.leaderId === one.memberId).length > statuses.length);
      if (at !== -1) return at;
      await sleep(20);
    }
    throw new Error('no leader');
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.close();
    for (const one of this.processes) one?.signal('SIGKILL');
    await Promise.all(this.processes.map((one) => one?.exited));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
