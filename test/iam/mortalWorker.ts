/** The policy evaluator's thread, but mortal. */
import './mortality.js';
import '../../src/iam/worker.js';
