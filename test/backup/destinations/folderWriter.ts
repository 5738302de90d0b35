/** A process of its own that puts an object into a folder: FOLDER NAME BYTES SEED, or with more seeds one after another without an end. Prints OK, or the failure. */
import { FolderDestination } from '../../../src/backup/destinations/folder.js';
import { QuorateError } from '../../../src/base/errors.js';
import { content, sourceOf } from './objects.js';

const [root, name, bytes, ...seeds] = process.argv.slice(2);
const destination = new FolderDestination('here', root!);
const versions = seeds.map((seed) => sourceOf(content(Number(bytes), Number(seed))));
try {
  await destination.put(name!, versions[0]!);
  process.stdout.write('OK');
  for (let i = 1; seeds.length > 1; i++) await destination.put(name!, versions[i % versions.length]!);
} catch (error) {
  if (!(error instanceof QuorateError)) throw error;
  process.stdout.write(`${error.code}: ${error.detail}`);
}
