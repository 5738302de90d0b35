/** The audit methods on a socket, over a log in a folder: what the daemon serves, without the daemon. */
import { setInterval as every } from 'node:timers/promises';
import { FolderLog } from '../../src/audit/folder.js';
import { type ErrorCode, QuorateError } from '../../src/base/errors.js';
import { AuditDesk, proveAudit, readAudit, repairAudit, verifyAudit } from '../../src/operations/audit.js';
import { type Asked, ScriptedServer } from '../client/scripted.js';
import { leafOf, type MadeLog, openerOf, seeded } from './fixture.js';
import { verifierKeyText } from './twin.js';

const METHODS = { ReadAudit: readAudit, VerifyAudit: verifyAudit, ProveAudit: proveAudit, RepairAudit: repairAudit } as const;

export class AuditServer {
  readonly made: MadeLog;
  readonly log: FolderLog;
  readonly desk: AuditDesk;
  readonly server = new ScriptedServer();
  /** Calls that were given a leaf, and those that went on with an earlier one. */
  readonly calls: { name: string; continues: boolean }[] = [];
  #repairs: { size: number; detail: string }[] = [];

  constructor(made: MadeLog) {
    this.made = made;
    const { twin } = made;
    const repair = async (): Promise<{ size: number; detail: string }> => this.#repairs.shift() ?? { size: twin.size, detail: 'nothing was lost' };
    this.log = new FolderLog({
      folder: made.folder, storeId: twin.keys.storeId, verifierKey: verifierKeyText(twin.keys), writer: { durable: () => twin.size, flush: async () => undefined, open: openerOf(twin.keys), repair },
    });
    this.desk = new AuditDesk(this.log);
    this.server.onAsked = (asked) => void this.#answer(asked);
  }

  async start(): Promise<this> {
    await this.server.start();
    return this;
  }

  /** A leaf now and then, signed, until it is told to stop. */
  async grow(everyMs: number, leaves: number): Promise<void> {
    const { twin } = this.made;
    let left = leaves;
    for await (const _ of every(everyMs)) {
      if (left-- === 0) return;
      twin.append(leafOf(twin.size, seeded(twin.size)));
      twin.checkpoint();
    }
  }

  willRepair(outcome: { size: number; detail: string }): void {
    this.#repairs.push(outcome);
  }

  async remove(): Promise<void> {
    this.desk.close();
    await this.server.remove();
    this.made.remove();
  }

  async #answer(asked: Asked): Promise<void> {
    const reader = { session: asked.connection, principal: 'user:auditor' };
    try {
      const method = METHODS[asked.name as keyof typeof METHODS];
      this.calls.push({ name: asked.name, continues: this.desk.continues(reader, asked.name, asked.request) });
      asked.reply(asked.name, await method({ audit: this.desk }, reader, asked.request as never) as never);
    } catch (error) {
      if (!(error instanceof QuorateError)) throw error;
      asked.fail(error.code as ErrorCode, error.detail, { retryAfterMs: error.retryAfterMs, field: error.field });
    }
  }
}
