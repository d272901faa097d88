/**
 * What the programs in the documents take for granted, declared for the compiler. A program that
 * declares or imports such a word itself means its own. For test/snippets.test.ts alone.
 */

/** The text of a declaration file. */
export const SNIPPET_WORDS = `
declare const bus: import("seqbus").Bus;
declare const reply: typeof import("seqbus").reply;
declare const Memory: typeof import("seqbus").Memory;
declare const GapError: typeof import("seqbus").GapError;
declare const LimitError: typeof import("seqbus").LimitError;
declare const RejectedError: typeof import("seqbus").RejectedError;
declare const closeSync: typeof import("node:fs").closeSync;
declare const pixels: Uint8Array;
declare const width: number, height: number;
declare function show(...seen: unknown[]): void;
declare function work(...task: unknown[]): Promise<void>;
declare function store(message: unknown): Promise<void>;
declare function take(message: unknown): void;
declare function catchUp(count: number | undefined): void;
declare function startBroker(path: string | undefined): void;
declare function backOff(): void;
declare function add(connection: unknown, uid: unknown): void;
declare function remove(connection: number, code: string | undefined): void;
declare function openFor(uid: number, name: unknown): number;
declare function openNotes(name: unknown): { readonly fd: number } & Disposable;
declare function listFiles(path: unknown): AsyncIterable<string>;
`;
