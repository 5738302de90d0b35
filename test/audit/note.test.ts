import { createPrivateKey, sign } from 'node:crypto';
import { assert } from 'chai';
import { openCheckpoint, splitNotes } from '../../src/audit/checkpoint.js';
import { parseNote, parseVerifierKey, requireSigned, toBase64, verifierKey } from '../../src/base/note.js';
import { type ErrorCode, QuorateError } from '../../src/base/errors.js';
import { KEYS, keysOf } from './fixture.js';
import { checkpointText, logKeys, merkleTreeHash, verifierKeyText } from './twin.js';

/** The key and the note of the reference implementation's own test (golang.org/x/mod/sumdb/note). */
const PETER = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const PETER_TEXT = 'If you think cryptography is the answer to your problem,\nthen you don\'t know what your problem is.\n';
const PETER_LINE = '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
const PETER_NOTE = `${PETER_TEXT}\n${PETER_LINE}`;
/** The examples of c2sp.org/signed-note and c2sp.org/tlog-checkpoint. */
const QUASIMODO = 'Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n';
const SOFA = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n';

function refused(run: () => unknown, code: ErrorCode = 'AUDIT_CORRUPT'): QuorateError {
  try {
    run();
  } catch (error) {
    assert.instanceOf(error, QuorateError, String(error));
    assert.equal((error as QuorateError).code, code);
    return error as QuorateError;
  }
  assert.fail('nothing was refused');
}

describe('signed notes', function () {
  this.timeout(30_000);
  it('takes the reference implementation\'s key and note', () => {
    const key = parseVerifierKey(PETER);
    assert.equal(key.text, PETER);
    const note = parseNote(PETER_NOTE);
    assert.equal(note.text, PETER_TEXT);
    requireSigned(note, [key]);
  });

  it('refuses every piece of the key, every key with one character changed, and other types', () => {
    for (let i = 0; i <= PETER.length; i++) {
      for (let j = i + 1; j <= PETER.length; j++) if (i !== 0 || j !== PETER.length) refused(() => parseVerifierKey(PETER.slice(i, j)));
    }
    for (let i = 0; i < PETER.length; i++) refused(() => parseVerifierKey(`${PETER.slice(0, i)}${String.fromCharCode(PETER.charCodeAt(i) + 1)}${PETER.slice(i + 1)}`));
    // Too long, and of an unknown type, each with an id that fits.
    refused(() => parseVerifierKey('PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=='));
    refused(() => parseVerifierKey('PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'));
    refused(() => verifierKey('a name', new Uint8Array(32)));
    refused(() => verifierKey('name', new Uint8Array(31)));
  });

  it('parses the examples of the specification, to the byte', () => {
    const note = parseNote(QUASIMODO);
    assert.equal(note.text, QUASIMODO.slice(0, QUASIMODO.lastIndexOf('\n—')));
    assert.deepEqual(note.signatures.map((s) => s.name), ['quasimodo.example/salvatore']);
    assert.equal(Buffer.from(note.signatures[0]!.keyId).toString('hex'), '367ba04b');
    assert.equal(note.signatures[0]!.signature.byteLength, 64);
    assert.equal(parseNote(SOFA).text.split('\n')[1], '20852163');
    assert.equal(Buffer.from(parseNote(SOFA).signatures[0]!.keyId).toString('hex'), '033de0ae');
  });

  it('refuses what is no note', () => {
    for (const bad of ['', '\n', PETER_TEXT, `${PETER_TEXT}\n`, PETER_NOTE.slice(0, -1), `${PETER_NOTE.slice(0, -1)}X`, `${PETER_NOTE}more\n`, PETER_NOTE.replace('— ', '- '),
      PETER_NOTE.replace('x08go', 'x08g'), PETER_NOTE.replace('nAM=', 'nAN='), PETER_NOTE.replace('nAM=', 'nAM'), PETER_NOTE.replace('PeterNeumann ', 'Peter+Neumann '),
      `${PETER_TEXT}\n— PeterNeumann x08gow==\n`, PETER_NOTE.replace('cryptography', 'crypto\tgraphy'), PETER_NOTE.replace('cryptography', '\ud800'),
      `${PETER_TEXT}\n${PETER_LINE.repeat(101)}`, `${'x'.repeat(70_000)}\n\n${PETER_LINE}`]) {
      refused(() => parseNote(bad));
    }
  });

  it('believes only a known key, and every line of a known key must verify', () => {
    const key = parseVerifierKey(PETER);
    for (const at of [3, 40, 80]) {
      const changed = `${PETER_TEXT.slice(0, at)}X${PETER_TEXT.slice(at + 1)}`;
      assert.match(refused(() => requireSigned(parseNote(`${changed}\n${PETER_LINE}`), [key])).detail, /does not verify/);
    }
    assert.match(refused(() => requireSigned(parseNote(PETER_NOTE), keysOf(KEYS))).detail, /no signature/);
    requireSigned(parseNote(`${PETER_TEXT}\n— other.example ${'A'.repeat(90)}==\n${PETER_LINE}`), [key]);
    const broken = PETER_LINE.replace('GE6Ryy', 'GE6Rxx').replace('RZb6', 'RZb7');
    refused(() => requireSigned(parseNote(`${PETER_TEXT}\n${PETER_LINE}${broken}`), [key]));
    // A signature that is too short is of the key's id, but none of its type.
    refused(() => requireSigned(parseNote(`${PETER_TEXT}\n— PeterNeumann ${toBase64(Buffer.from('c74f20a3aabb', 'hex'))}\n`), [key]));
  });
});

describe('checkpoints', () => {
  const root = merkleTreeHash([]);
  const text = checkpointText(KEYS, 12, root);
  const resigned = (body: string): string => {
    const signature = sign(null, Buffer.from(body), KEYS.signKey);
    const id = Buffer.from(verifierKeyText(KEYS).split('+')[1]!, 'hex');
    return `${body}\n— ${KEYS.origin} ${Buffer.concat([id, signature]).toString('base64')}\n`;
  };

  it('says size and root when its log signed it', () => {
    const checkpoint = openCheckpoint(text, keysOf(KEYS));
    assert.equal(checkpoint.size, 12);
    assert.equal(Buffer.from(checkpoint.root).toString('hex'), root.toString('hex'));
    assert.equal(checkpoint.origin, `quorate/${'11'.repeat(16)}`);
    assert.equal(openCheckpoint(resigned(`${KEYS.origin}\n12\n${root.toString('base64')}\nan extension\n`), keysOf(KEYS)).size, 12);
    assert.equal(openCheckpoint(resigned(`${KEYS.origin}\n0\n${root.toString('base64')}\n`), keysOf(KEYS)).size, 0);
  });

  it('refuses one of another log, another key, or another form, signed or not', () => {
    const keys = keysOf(KEYS);
    const other = logKeys(Buffer.alloc(16, 0x12), Buffer.alloc(32), Buffer.alloc(32, 0x33));
    assert.match(refused(() => openCheckpoint(checkpointText(other, 12, root), keys)).detail, /is of the log/);
    refused(() => openCheckpoint(checkpointText({ ...logKeys(KEYS.storeId, KEYS.sealKey, Buffer.alloc(32, 0x34)) }, 12, root), keys));
    refused(() => openCheckpoint(text.replace('\n12\n', '\n13\n'), keys));
    for (const body of [`${KEYS.origin}\n012\n${root.toString('base64')}\n`, `${KEYS.origin}\n+12\n${root.toString('base64')}\n`, `${KEYS.origin}\n12\n${root.subarray(1).toString('base64')}\n`,
      `${KEYS.origin}\n99999999999999999\n${root.toString('base64')}\n`, `${KEYS.origin}\n9007199254740993\n${root.toString('base64')}\n`, `${KEYS.origin}\n12\n`, `${KEYS.origin}\n12\n${root.toString('base64').replace('=', '')}\n`]) {
      refused(() => openCheckpoint(resigned(body), keys));
    }
  });

  it('has an own signature even when another log\'s key is known', () => {
    // Trusted for its own log, not for this one.
    const other = logKeys(Buffer.alloc(16, 0x12), Buffer.alloc(32), Buffer.alloc(32, 0x44));
    const body = text.slice(0, text.indexOf('\n\n') + 1);
    const line = checkpointText(other, 12, root).split('\n\n')[1]!.replace(/ [^ ]+\n$/, '');
    const signature = sign(null, Buffer.from(body), createPrivateKey(other.signKey.export({ format: 'pem', type: 'pkcs8' })));
    const id = Buffer.from(verifierKeyText(other).split('+')[1]!, 'hex');
    const forged = `${body}\n${line} ${Buffer.concat([id, signature]).toString('base64')}\n`;
    requireSigned(parseNote(forged), keysOf(other));
    refused(() => openCheckpoint(forged, [...keysOf(KEYS), ...keysOf(other)]));
  });

  it('are cut apart as they stand in checkpoints.log', () => {
    const second = checkpointText(KEYS, 13, root);
    assert.deepEqual(splitNotes(`${text}\n${second}\n`), [text, second]);
    assert.deepEqual(splitNotes(`${text}\n${second}`), [text, second]);
    assert.deepEqual(splitNotes(`\n\n${text}\n\n\n${second}`), [text, second]);
    assert.deepEqual(splitNotes(''), []);
    refused(() => splitNotes('x\n'.repeat(40_000)));
  });
});
