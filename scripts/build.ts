/**
 * Bundles what ships into dist/: the daemon, the shim, the CLI and the workers, one file each, so that starting a program
 * opens few files. Native modules stay in node_modules.
 */
import { existsSync, globSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

const repository = resolve(import.meta.dirname, "..");
const output = join(repository, "dist");

const shared: BuildOptions = {
	absWorkingDir: repository,
	bundle: true,
	platform: "node",
	format: "esm",
	target: "node26",
	outdir: output,
	outExtension: { ".js": ".mjs" },
	legalComments: "none",
	logLevel: "warning",
	write: false,
	// native code, or files that find their own neighbours by path
	external: ["@nxtedition/rocksdb", "piscina"],
	// some dependencies are CommonJS and call require
	banner: {
		js: 'import { createRequire as troupeCreateRequire } from "node:module"; const require = troupeCreateRequire(import.meta.url);',
	},
};

const programs: Readonly<Record<string, string>> = { trouped: "src/daemon/main.ts" };
const workers = globSync(["src/**/*.worker.ts", "actors/**/*.worker.ts", "shim/**/*.worker.ts"], { cwd: repository });
const entries = [
	...Object.entries(programs).map(([out, entry]) => ({ out, in: entry })),
	...workers.map((file) => ({ out: basename(file, ".ts"), in: file })),
].filter((entry) => existsSync(join(repository, entry.in)));

/**
 * Source text stays in memory as long as its functions may be compiled. Names are kept: stack traces in the log have no
 * other source.
 */
const small: BuildOptions = { minifyWhitespace: true, minifySyntax: true };

/** What the daemon takes from undici: without fetch, WebSocket, caches and mocks, whose code would stay in memory. */
const plainUndici: Plugin = {
	name: "undici's agents alone",
	setup({ onResolve, onLoad }) {
		onResolve({ filter: /^undici$/ }, () => ({ path: "undici", namespace: "agents" }));
		onLoad({ filter: /.*/, namespace: "agents" }, () => ({
			contents: [
				`Object.assign(require("undici/lib/dispatcher/dispatcher.js").prototype, require("undici/lib/api"));`,
				`exports.Agent = require("undici/lib/dispatcher/agent.js");`,
				`exports.EnvHttpProxyAgent = require("undici/lib/dispatcher/env-http-proxy-agent.js");`,
			].join("\n"),
			resolveDir: repository,
		}));
	},
};

/**
 * The CLI is one CommonJS file, which Node loads some milliseconds faster than modules; a command's code in it runs when it
 * is called. grpc-js, twice as large as all the rest, is a file of its own for the one command that needs it.
 */
const cli: BuildOptions = {
	...shared,
	format: "cjs",
	outExtension: { ".js": ".cjs" },
	banner: {},
	minify: true,
};

/** commander loads child_process, for a feature that nobody uses: 7 ms of each start. */
const lazyChildProcess: Plugin = {
	name: "lazy child_process",
	setup({ onResolve, onLoad }) {
		onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
			importer.includes("/commander/") ? { path: "child_process", namespace: "lazy" } : undefined,
		);
		onLoad({ filter: /.*/, namespace: "lazy" }, () => ({
			contents: `exports.spawn = (...args) => process.getBuiltinModule("node:child_process").spawn(...args);`,
		}));
	},
};

const ownFile: Plugin = {
	name: "grpc-js in its own file",
	setup({ onResolve }) {
		onResolve({ filter: /^@grpc\/grpc-js$/ }, () => ({ path: "./troupe-grpc.cjs", external: true }));
	},
};

const results = await Promise.all([
	build({ ...shared, ...small, entryPoints: entries, plugins: [plainUndici] }),
	// its source stays in memory in each shim: half a megabyte less
	build({ ...shared, banner: {}, minify: true, entryPoints: [{ out: "shim", in: "shim/main.ts" }] }),
	build({ ...cli, entryPoints: [{ out: "troupe", in: "src/cli/main.ts" }], plugins: [lazyChildProcess, ownFile] }),
	build({ ...cli, entryPoints: [{ out: "troupe-grpc", in: "@grpc/grpc-js" }] }),
]);

/**
 * One letter that is not ASCII doubles a source text in memory. esbuild leaves those that stand in regular expressions;
 * there `\uXXXX` means the same, unless a backslash stands before it.
 */
function ascii(text: string, path: string): string {
	const escaped = /\\[^\0-\x7f]/.exec(text);
	if (escaped !== null) throw new Error(`${path}: cannot be written as ASCII at ${JSON.stringify(escaped[0])}`);
	return text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// Each file appears whole, under its name: daemons and shims that start meanwhile read the old one or the new one.
mkdirSync(output, { recursive: true });
const files = results.flatMap((result) => result.outputFiles ?? []);
for (const { path, text } of files) {
	writeFileSync(`${path}.new`, ascii(text, path));
	renameSync(`${path}.new`, path);
}
const written = new Set(files.map(({ path }) => basename(path)));
for (const name of readdirSync(output)) if (/\.[cm]js$/.test(name) && !written.has(name)) rmSync(join(output, name)); // of an earlier build
