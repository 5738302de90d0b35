/**
 * Names at a destination, below the store's id:
 *
 *     <store id>/ring.qr                                      the keys, replaced and not kept
 *     <store id>/seg/<epoch, 16 digits>/<number, 10 digits>.qs  a segment
 *     <store id>/seg/<epoch>/<number>.qm                        its manifest, written behind it
 */
import type { ObjectName } from './destination.js';

export const ringName = (store: string): ObjectName => `${store}/ring.qr`;
export const segmentsPrefix = (store: string): string => `${store}/seg/`;

export interface Place {
  readonly epoch: number;
  readonly number: number;
}

function placeName(store: string, { epoch, number }: Place): string {
  return `${segmentsPrefix(store)}${String(epoch).padStart(16, '0')}/${String(number).padStart(10, '0')}`;
}

export const segmentName = (store: string, place: Place): ObjectName => `${placeName(store, place)}.qs`;
export const manifestName = (store: string, place: Place): ObjectName => `${placeName(store, place)}.qm`;

/** null: another object, which is left alone. */
export function placeOf(store: string, name: ObjectName): (Place & { readonly kind: 'segment' | 'manifest' }) | null {
  const match = name.startsWith(segmentsPrefix(store)) ? /^(\d{16})\/(\d{10})\.(qs|qm)$/.exec(name.slice(segmentsPrefix(store).length)) : null;
  if (match === null) return null;
  return { epoch: Number(match[1]), number: Number(match[2]), kind: match[3] === 'qs' ? 'segment' : 'manifest' };
}
