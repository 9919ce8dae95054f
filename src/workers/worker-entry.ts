/**
 * Where a worker's entry file is: beside this file when run from source, beside the bundle (`dist/<name>.worker.mjs`)
 * when built.
 */
export const workerEntry = (name: string): URL =>
	new URL(import.meta.url.endsWith(".ts") ? `./${name}.worker.ts` : `./${name}.worker.mjs`, import.meta.url);
