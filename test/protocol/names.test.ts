/** Every value of every enum has a word, and every word its value. */
import { assert } from 'chai';
import * as pb from '../../src/protocol/gen/quorate_pb.js';
import * as names from '../../src/protocol/names.js';

const TABLES: [string, Readonly<Record<string, number>>, Record<string, string | number>, (name: string) => string][] = [
  ['KeyType', names.KEY_TYPES, pb.KeyType, (n) => n.toLowerCase().replaceAll('_', '-')],
  ['KeyScheme', names.KEY_SCHEMES, pb.KeyScheme, (n) => n.toLowerCase().replaceAll('_', '-')],
  ['KeyState', names.KEY_STATES, pb.KeyState, (n) => n.toLowerCase().replace(/_(.)/g, (_, c: string) => c.toUpperCase())],
  ['DeactivationReason', names.REASONS, pb.DeactivationReason, (n) => n.toLowerCase().replace(/^reason_/, '').replaceAll('_', '-')],
  ['Hash', names.HASHES, pb.Hash, (n) => n.toLowerCase().replaceAll('_', '-')],
  ['MaterialFormat', names.MATERIAL_FORMATS, pb.MaterialFormat, (n) => n.toLowerCase().replace('_public', '')],
  ['PublicFormat', names.PUBLIC_FORMATS, pb.PublicFormat, (n) => n.toLowerCase()],
  ['ObjectOrigin', names.OBJECT_ORIGINS, pb.ObjectOrigin, (n) => n.toLowerCase()],
  ['SealType', names.SEAL_TYPES, pb.SealType, (n) => n.toLowerCase()],
];

describe('names', () => {
  for (const [what, table, wire, word] of TABLES) {
    it(`${what}`, () => {
      const expected = Object.fromEntries(Object.entries(wire).filter(([k, v]) => typeof v === 'number' && v !== 0 && Number.isNaN(Number(k))).map(([k, v]) => [word(k), v]));
      assert.deepEqual({ ...table }, expected);
    });
  }

  it('refuses other words, naming the field and the choices', () => {
    assert.throws(() => names.numberOf(names.KEY_TYPES, 'aes-512', 'type'), /BAD_REQUEST: type is not one of aes-128, /);
    assert.throws(() => names.numberOf(names.KEY_TYPES, 'constructor', 'type'), /BAD_REQUEST/);
  });
});
