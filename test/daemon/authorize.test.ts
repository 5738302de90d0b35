import { expect } from 'chai';
import { QuorateError } from '../../src/base/errors.js';
import { authorizeSealed, operationRow } from '../../src/daemon/authorize.js';
import { OPERATIONS } from '../../src/protocol/operations.gen.js';

const OWN = 900;
const ADMIN = 1000;

type Name = keyof typeof OPERATIONS;
const names = (Object.keys(OPERATIONS) as Name[]).filter((name) => OPERATIONS[name].whenSealed);

function passes(name: Name, uid: number, adminUid: number | null): boolean {
  try {
    authorizeSealed(OPERATIONS[name], uid, { adminUid, ownUid: OWN });
    return true;
  } catch (error) {
    if (error instanceof QuorateError && error.code === 'DENIED') return false;
    throw error;
  }
}

describe('methods that are answered while sealed', () => {
  const first = ['Hello', 'Ping', 'Status', 'Health'];
  const openToAll = [...first, 'BackupProgress'];
  const allowed = (uid: number, adminUid: number | null): string[] => names.filter((name) => passes(name, uid, adminUid));

  it('are few, and all are the administrator\'s', () => {
    expect(names).to.deep.equal([...first, 'Init', 'Unseal', 'JoinRegion', 'RestoreBackup', 'BackupProgress']);
    expect(allowed(ADMIN, ADMIN)).to.deep.equal(names);
  });

  it('are denied to every other uid, root included, but for what is open to all', () => {
    expect(allowed(0, ADMIN)).to.deep.equal(openToAll);
    expect(allowed(65534, ADMIN)).to.deep.equal(openToAll);
    expect(allowed(65534, null)).to.deep.equal(openToAll);
  });

  it('let the daemon\'s own uid or root initialise, until somebody has', () => {
    expect(allowed(OWN, null)).to.deep.equal(names);
    expect(allowed(0, null)).to.deep.equal([...first, 'Init', 'JoinRegion', 'RestoreBackup', 'BackupProgress']);
  });

  it('let the daemon\'s own uid unseal', () => {
    expect(allowed(OWN, ADMIN)).to.deep.equal(names);
  });

  it('are known by number', () => {
    expect(operationRow(OPERATIONS.Seal.id)?.name).to.equal('Seal');
    expect(operationRow(9999)).to.equal(undefined);
  });
});
