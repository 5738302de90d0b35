/** What answers of S3-compatible storage mean, one by one. */
import { assert } from 'chai';
import { isAbsent, isUnknownRequest, judge } from '../../../src/backup/destinations/s3Faults.js';
import { QuorateError } from '../../../src/base/errors.js';

const answer = (httpStatusCode: number, name = 'Unknown'): Error => Object.assign(new Error('words of the server'), { name, $metadata: { httpStatusCode } });
const broken = (code: string): Error => Object.assign(new Error('words of the system'), { code, $metadata: { attempts: 1 } });

describe('what an answer of a bucket means', () => {
  it('by its code and status', () => {
    const rows: [Error, string, 'once' | 'again'][] = [
      [answer(403, 'AccessDenied'), 'BACKUP_REFUSED', 'once'], [answer(403), 'BACKUP_REFUSED', 'once'], [answer(401), 'BACKUP_REFUSED', 'once'],
      [answer(403, 'SignatureDoesNotMatch'), 'BACKUP_REFUSED', 'once'], [answer(404, 'NoSuchBucket'), 'BACKUP_REFUSED', 'once'],
      [answer(301, 'PermanentRedirect'), 'BACKUP_REFUSED', 'once'], [answer(400, 'AuthorizationHeaderMalformed'), 'BACKUP_REFUSED', 'once'],
      [answer(405, 'MethodNotAllowed'), 'BACKUP_REFUSED', 'once'], [answer(501, 'NotImplemented'), 'BACKUP_REFUSED', 'once'],
      [answer(403, 'QuotaExceeded'), 'BACKUP_FULL', 'once'], [answer(413), 'BACKUP_FULL', 'once'], [answer(507), 'BACKUP_FULL', 'once'], [answer(507, 'XMinioStorageFull'), 'BACKUP_FULL', 'once'],
      [answer(400, 'EntityTooLarge'), 'BACKUP_FULL', 'once'],
      [answer(500, 'InternalError'), 'BACKUP_UNAVAILABLE', 'again'], [answer(503, 'SlowDown'), 'BACKUP_UNAVAILABLE', 'again'], [answer(502), 'BACKUP_UNAVAILABLE', 'again'], [answer(504), 'BACKUP_UNAVAILABLE', 'again'],
      [answer(429), 'BACKUP_UNAVAILABLE', 'again'], [answer(408), 'BACKUP_UNAVAILABLE', 'again'], [answer(409, 'OperationAborted'), 'BACKUP_UNAVAILABLE', 'again'],
      [answer(400, 'BadDigest'), 'BACKUP_UNAVAILABLE', 'again'], [answer(400, 'RequestTimeout'), 'BACKUP_UNAVAILABLE', 'again'], [answer(400, 'XAmzContentSHA256Mismatch'), 'BACKUP_UNAVAILABLE', 'again'], [answer(200, 'SyntaxError'), 'BACKUP_UNAVAILABLE', 'again'],
      [answer(412, 'PreconditionFailed'), 'BACKUP_UNAVAILABLE', 'once'],
      [broken('ECONNREFUSED'), 'BACKUP_UNAVAILABLE', 'again'], [broken('ENOTFOUND'), 'BACKUP_UNAVAILABLE', 'again'], [broken('EPIPE'), 'BACKUP_UNAVAILABLE', 'again'],
      [Object.assign(new Error('late'), { name: 'TimeoutError' }), 'BACKUP_UNAVAILABLE', 'again'],
      [broken('CERT_HAS_EXPIRED'), 'BACKUP_REFUSED', 'once'], [broken('ERR_TLS_CERT_ALTNAME_INVALID'), 'BACKUP_REFUSED', 'once'], [broken('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'BACKUP_REFUSED', 'once'],
    ];
    for (const [error, code, tries] of rows) {
      const verdict = judge(error)!;
      assert.deepEqual([verdict.code, verdict.triesMax > 1 ? 'again' : 'once'], [code, tries], `${error.name} ${JSON.stringify(error)}`);
      assert.notInclude(verdict.reason, 'words');
    }
    assert.include(judge(answer(403, 'RequestTimeTooSkewed')), { code: 'BACKUP_REFUSED', triesMax: 2 });
  });

  it('in codes alone: a server\'s words do not come through', () => {
    assert.equal(judge(answer(400, 'the secret is abc'))!.reason, 'HTTP 400');
    assert.equal(judge(answer(400, 'x'.repeat(65)))!.reason, 'HTTP 400');
    assert.equal(judge(answer(503, 'SlowDown'))!.reason, 'SlowDown, HTTP 503');
    assert.equal(judge(broken('ECONNRESET'))!.reason, 'ECONNRESET');
  });

  it('nothing where this program is at fault, or the destination has spoken already', () => {
    for (const error of [new TypeError('x is not a function'), new Error('?'), new QuorateError('BACKUP_REFUSED', 'x'), 'text']) assert.isNull(judge(error));
  });

  it('that there is no object, or no such request', () => {
    assert.deepEqual([answer(404), answer(404, 'NoSuchKey'), answer(404, 'NoSuchBucket'), answer(403)].map(isAbsent), [true, true, false, false]);
    assert.deepEqual([answer(501), answer(501, 'NotImplemented'), answer(405, 'MethodNotAllowed'), answer(405), answer(403)].map(isUnknownRequest), [true, true, true, false, false]);
  });
});
