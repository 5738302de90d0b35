/** What a person types at a terminal: script(1) makes one. Nothing of a secret may show on it. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { assert } from 'chai';
import { needTool } from '../skip.js';
import { makePlace, type Place, type RunningDaemon, root, startDaemon, stopProcess } from './shell.js';
import { Terminal } from './terminal.js';

describe('prompts', function () {
  this.timeout(60_000);
  let place: Place;
  let daemon: RunningDaemon | undefined;
  before(function () {
    needTool(this, 'script');
    place = makePlace();
  });
  after(async () => {
    if (daemon !== undefined) await stopProcess(daemon.process);
    place?.remove();
  });

  it('refuses a new passphrase that is short or mistyped, and shows none', async () => {
    const short = new Terminal(place, 'quorate init');
    await short.answer('New passphrase: ', 'seven77\r');
    assert.equal(await short.exit, 64);
    assert.include(short.shown, 'error BAD_REQUEST: a passphrase has at least 8 bytes.');
    const mistyped = new Terminal(place, 'quorate init');
    await mistyped.answer('New passphrase: ', 'correct horse\r');
    await mistyped.answer('The same again: ', 'correct house\r');
    assert.equal(await mistyped.exit, 64);
    assert.include(mistyped.shown, 'the two passphrases differ');
    for (const secret of ['seven77', 'correct', 'house']) assert.notInclude(short.shown + mistyped.shown, secret);
  });

  it('initialises with a typed passphrase, taking corrections', async () => {
    const terminal = new Terminal(place, 'quorate init');
    // Ctrl-U takes the line back, Delete a character, of however many bytes.
    await terminal.answer('New passphrase: ', Buffer.concat([Buffer.from('wrong'), Buffer.of(21), Buffer.from('correct hörsß'), Buffer.of(127), Buffer.from('e\r')]));
    await terminal.answer('The same again: ', 'correct hörse\r');
    assert.equal(await terminal.exit, 0, terminal.shown);
    assert.include(terminal.shown, 'RECOVERY KIT');
    assert.notInclude(terminal.shown, 'hörs');
    writeFileSync(path.join(place.folder, 'kit'), terminal.shown);
  });

  it('unseals with it, after a wrong one', async () => {
    daemon = await startDaemon(place, []);
    const wrong = new Terminal(place, 'quorate unseal');
    await wrong.answer('Passphrase: ', 'correct horse\r');
    assert.equal(await wrong.exit, 77);
    const right = new Terminal(place, 'quorate unseal');
    await right.answer('Passphrase: ', 'correct hörse\r');
    assert.equal(await right.exit, 0, right.shown);
    assert.include(right.shown, 'unsealed');
    assert.notInclude(right.shown, 'hörse');
  });

  it('takes shares one after the other until it opens', async () => {
    execFileSync(path.join(root, 'bin', 'quorate'), ['seal'], { env: place.env });
    const kit = execFileSync('sed', ['-n', 's/^  [1-5]  //p', path.join(place.folder, 'kit')], { encoding: 'utf8' }).trim().split('\n');
    assert.lengthOf(kit, 5);
    const terminal = new Terminal(place, 'quorate unseal --recovery');
    await terminal.answer('Share: ', `${kit[4]!}\r`);
    await terminal.answer('Share (1 of 3 given; empty: the others come later): ', `${kit[0]!}\r`);
    await terminal.answer('Share (2 of 3 given; empty: the others come later): ', `${kit[2]!}\r`);
    assert.equal(await terminal.exit, 0, terminal.shown);
    assert.include(terminal.shown, 'unsealed');
    assert.notInclude(terminal.shown, kit[0]!.slice(0, 12));
  });

  it('asks before it destroys', async () => {
    execFileSync(path.join(root, 'bin', 'quorate'), ['key', 'create', 'k', '--type', 'aes-256'], { env: place.env });
    const no = new Terminal(place, 'quorate key destroy k');
    await no.answer('Destroy k (aes-256, v1, active) in 30 days? [y/N] ', '\r');
    assert.equal(await no.exit, 64);
    assert.include(no.shown, 'not confirmed');
    const yes = new Terminal(place, 'quorate key destroy k');
    await yes.answer('? [y/N] ', 'y\r');
    assert.equal(await yes.exit, 0);
    assert.include(yes.shown, 'will be destroyed');
  });

  it('ends at Ctrl-C as an interrupted program', async () => {
    execFileSync(path.join(root, 'bin', 'quorate'), ['seal'], { env: place.env });
    const terminal = new Terminal(place, 'quorate unseal');
    await terminal.answer('Passphrase: ', Buffer.from('corr\u0003'));
    assert.equal(await terminal.exit, 130);
    assert.notInclude(terminal.shown, 'corr');
  });
});
