/** Users and groups as the name service has them. What a directory server may do is done by a preloaded library in a child. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { assert } from 'chai';
import { addon } from '../../src/crypto/addon.js';
import { inChild, said } from './child.js';
import { refused } from './expect.js';

/** name -> id of each line; the first that has an id is its name. */
function entries(file: string): [string, number][] {
  return readFileSync(file, 'utf8').split('\n').filter((line) => /^[^:+#-][^:]*:[^:]*:\d+/.test(line)).map((line) => [line.split(':')[0]!, Number(line.split(':')[2])]);
}

/** uid 1: hangs; 2: the server is down; 3: a name that is not UTF-8; 4: a long entry, for which the first buffer is too small; 5: ESRCH. */
const SERVICE = `
#define _GNU_SOURCE
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>
int getpwuid_r(uid_t uid, struct passwd* entry, char* memory, size_t bytes, struct passwd** found) {
  *found = 0;
  if (uid == 1) usleep(1500000);
  if (uid == 2) return EIO;
  if (uid == 5) return ESRCH;
  if (uid == 4 && bytes < 100000) return ERANGE;
  if (uid == 6) return 0;
  memset(entry, 0, sizeof *entry);
  strcpy(memory, uid == 3 ? "caf\\xe9" : uid == 4 ? "long" : "slow");
  entry->pw_name = memory;
  entry->pw_uid = uid;
  *found = entry;
  return 0;
}`;

describe('addon: names of users and groups', function () {
  this.timeout(30_000);

  it('are those of the host', async () => {
    const users = entries('/etc/passwd'), groups = entries('/etc/group');
    assert.isAbove(users.length, 3);
    for (const [name, id] of users.slice(0, 40)) {
      assert.equal(await addon.userId(name), id, name);
      assert.equal(await addon.userName(id), users.find(([, other]) => other === id)![0]);
    }
    for (const [name, id] of groups.slice(0, 40)) {
      assert.equal(await addon.groupId(name), id, name);
      assert.equal(await addon.groupName(id), groups.find(([, other]) => other === id)![0]);
    }
    assert.deepEqual(await Promise.all([addon.userName(0), addon.userId('root'), addon.groupName(0), addon.groupId('root')]), ['root', 0, 'root', 0]);
  });

  it('null for what does not exist', async () => {
    const free = 3_987_654_321;
    assert.deepEqual(await Promise.all([addon.userName(free), addon.groupName(free), addon.userId('no such user'), addon.groupId('no-such-group')]), [null, null, null, null]);
    for (const text of ['0', '+0', 'root ', 'Root', 'root:x', 'x'.repeat(256)]) assert.isNull(await addon.userId(text), text);
  });

  it('BAD_REQUEST for what is no id and no name', () => {
    for (const id of [-1, 2 ** 32 - 1, 1.5, '0', undefined]) {
      refused(() => addon.userName(id as number), 'BAD_REQUEST');
      refused(() => addon.groupName(id as number), 'BAD_REQUEST');
    }
    for (const name of ['', 'x'.repeat(257), 'a\0b', 0, undefined]) {
      refused(() => addon.userId(name as string), 'BAD_REQUEST');
      refused(() => addon.groupId(name as string), 'BAD_REQUEST');
    }
  });

  describe('from a server', () => {
    let work = '';
    let library = '';
    before(() => {
      work = mkdtempSync(path.join(os.tmpdir(), 'quorate-names-'));
      library = path.join(work, 'service.so');
      writeFileSync(path.join(work, 'service.c'), SERVICE);
      execFileSync('cc', ['-shared', '-fPIC', '-o', library, path.join(work, 'service.c')], { stdio: 'inherit' });
    });
    after(() => rmSync(work, { recursive: true, force: true }));

    it('that is down: BUSY, which is not "no such user"; a long entry is read whole; a name that is not UTF-8 is none', () => {
      const ended = inChild(`
        const codes = await Promise.all([2, 3, 4, 5, 6].map((uid) => addon.userName(uid).catch((e) => e.code)));
        say(codes);`, { env: { LD_PRELOAD: library } });
      assert.deepEqual([said(ended), ended.status], [[['BUSY', null, 'long', null, null]], 0], ended.stderr);
    });

    it('that hangs: files and databases go on, the process waits for its answers, and 1024 look-ups may wait', () => {
      const ended = inChild(`
        import { readFile } from 'node:fs/promises';
        const from = performance.now();
        // More than libuv has threads; the first hangs, and what comes behind it waits.
        const all = [addon.userName(1), ...Array.from({ length: 7 }, () => addon.userName(7))];
        await Promise.all(Array.from({ length: 20 }, () => readFile('/etc/passwd')));
        say(performance.now() - from < 1000);
        let refused = 0, code = '';
        for (let i = 0; i < 1100; i++) { try { void addon.userName(7); } catch (e) { refused++; code = e.code; } }
        say(refused > 50 && refused <= 110 && code === 'BUSY');
        void Promise.all(all).then((names) => say([names.length, new Set(names).size, performance.now() - from > 1400]));`, { env: { LD_PRELOAD: library } });
      assert.deepEqual([said(ended), ended.status], [[true, true, [8, 1, true]], 0], ended.stderr);
    });

    it('that hangs: the end of the process does not wait for it', () => {
      const ended = inChild(`void addon.userName(1); setTimeout(() => { say('ends'); process.exit(0); }, 50);`, { env: { LD_PRELOAD: library } });
      assert.deepEqual([said(ended), ended.status], [['ends'], 0], ended.stderr);
    });
  });
});
