import { expect } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { authorize, operationRow } from '../../src/daemon/authorize.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

const OWN = 900;
const ADMIN = 1000;

function passes(name: keyof typeof OPERATIONS, uid: number, adminUid: number | null): boolean {
  try {
    authorize(OPERATIONS[name], { uid, gid: uid, pid: 1, session: 1, listener: 0 }, { adminUid, ownUid: OWN });
    return true;
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'DENIED') return false;
    throw error;
  }
}

describe('authorize', () => {
  const names = Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[];
  const openToAll = ['Hello', 'Ping', 'Status', 'Health'];
  const allowed = (uid: number, adminUid: number | null): string[] => names.filter((name) => passes(name, uid, adminUid));

  it('lets the administrator do everything', () => {
    expect(allowed(ADMIN, ADMIN)).to.deep.equal(names);
  });

  it('denies every other uid, root included, all but what is open to all', () => {
    expect(allowed(0, ADMIN)).to.deep.equal(openToAll);
    expect(allowed(65534, ADMIN)).to.deep.equal(openToAll);
    expect(allowed(65534, null)).to.deep.equal(openToAll);
  });

  it('lets the daemon\'s own uid or root initialise, until somebody has', () => {
    expect(allowed(OWN, null)).to.deep.equal([...openToAll, 'Init', 'Unseal', 'CreateSessionKey', 'DestroySessionKey']);
    expect(allowed(0, null)).to.deep.equal([...openToAll, 'Init']);
  });

  it('lets the daemon\'s own uid unseal and check itself with session keys, and touch no stored key', () => {
    expect(allowed(OWN, ADMIN)).to.deep.equal([...openToAll, 'Init', 'Unseal', 'CreateSessionKey', 'DestroySessionKey']);
  });

  it('knows the rows by number', () => {
    expect(operationRow(OPERATIONS.Seal.id)?.name).to.equal('Seal');
    expect(operationRow(9999)).to.equal(undefined);
  });
});
