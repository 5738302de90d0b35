/**
 * The only loader of Cedar.
 *
 * V8 up to Node 22 inlines the call from JavaScript into WebAssembly, and ends the whole process ("unreachable code" in the deoptimizer) when what
 * called is deoptimized meanwhile and the function returns a JavaScript value, as Cedar's do. Calls are not inlined here: it saves nothing that
 * could be measured beside what Cedar does in one. test/iam/cedar.test.ts has the case.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--no-turbo-inline-js-wasm-calls');

export * from '@cedar-policy/cedar-wasm/nodejs';
