import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { rejectsWith } from "../content/content-store.test-suite.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { type BlobSink, downloadBlob } from "./blob-download.ts";
import { normalizeReference } from "./reference.ts";
import { allCapabilities, noTlsFiles } from "./registry/registry-host.ts";
import { RegistryClient } from "./registry-client.ts";
import { ImpatientClock, ScriptedRegistry } from "./scripted-registry.test-fixture.ts";

class MemorySink implements BlobSink {
	bytes: Buffer;
	readonly writes: number[] = [];
	constructor(bytes: Buffer = Buffer.alloc(0)) {
		this.bytes = bytes;
	}
	get offset(): number {
		return this.bytes.length;
	}
	async write(chunks: readonly Uint8Array[]): Promise<void> {
		await new Promise(setImmediate);
		this.bytes = Buffer.concat([this.bytes, ...chunks]);
		this.writes.push(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
	}
}

async function fixture(t: { after(fn: () => Promise<void>): void }) {
	const registry = await ScriptedRegistry.start();
	t.after(() => registry.stop());
	const clock = new ImpatientClock();
	const client = new RegistryClient({
		reference: normalizeReference(`${registry.host}/lib/app:1`),
		hosts: [
			{
				scheme: "http",
				host: registry.host,
				path: "/v2",
				capabilities: allCapabilities,
				tls: noTlsFiles,
				header: {},
				httpFallback: false,
			},
		],
		credentials: async () => undefined,
		clock,
		random: () => 0.5,
		stallMs: clock.stallMs,
	});
	t.after(() => client.close());
	return { registry, client, clock };
}

const never = new AbortController().signal;
const bytes = randomBytes(5 << 20);

describe("downloading a blob", () => {
	test("large pieces are written, whatever the network sends", async (t) => {
		const { registry, client, clock } = await fixture(t);
		const sink = new MemorySink();
		const told: number[] = [];
		const options = { signal: never, clock, stallMs: clock.stallMs, onBytes: (offset: number) => told.push(offset) };
		assert.equal(await downloadBlob(client, registry.blob(bytes), sink, options), registry.host);
		assert.ok(bytes.equals(sink.bytes));
		assert.ok(
			sink.writes.slice(0, -1).every((size) => size >= 1 << 20),
			sink.writes.join(),
		);
		assert.equal(told.at(-1), bytes.length);
	});

	test("from any offset, ranges or not, the sink ends up whole", async (t) => {
		const { registry, client, clock } = await fixture(t);
		const small = bytes.subarray(0, 200_000);
		const blob = registry.blob(small);
		await fc.assert(
			fc.asyncProperty(fc.nat(small.length - 1), fc.boolean(), async (offset, ignoresRange) => {
				registry.ignoresRange = ignoresRange;
				const sink = new MemorySink(small.subarray(0, offset));
				await downloadBlob(client, blob, sink, { signal: never, clock, stallMs: clock.stallMs });
				assert.ok(small.equals(sink.bytes));
			}),
			{ numRuns: 25 },
		);
	});

	test("a body that breaks off is DataLoss, keeps what arrived, and the next request goes on there", async (t) => {
		const { registry, client, clock } = await fixture(t);
		const blob = registry.blob(bytes);
		registry.fault((_, response) => {
			response.writeHead(200, { "content-length": bytes.length });
			response.write(bytes.subarray(0, 3_000_000), () => response.socket?.destroySoon());
			return true;
		});
		const sink = new MemorySink();
		const options = { signal: never, clock, stallMs: clock.stallMs };
		await rejectsWith("DataLoss", downloadBlob(client, blob, sink, options));
		assert.ok(sink.offset > 0 && sink.offset <= 3_000_000);
		const at = sink.offset;
		await downloadBlob(client, blob, sink, options);
		assert.ok(bytes.equals(sink.bytes));
		assert.equal(registry.requests.at(-1)?.headers.range, `bytes=${at}-`);
	});

	test("a body that ends early without saying so is DataLoss, one that is too long as well", async (t) => {
		const { registry, client, clock } = await fixture(t);
		const blob = registry.blob(Buffer.from("0123456789"));
		for (const body of ["01234", "0123456789ab"]) {
			registry.fault((_, response) => Boolean(response.end(body)));
			const options = { signal: never, clock, stallMs: clock.stallMs };
			await rejectsWith("DataLoss", downloadBlob(client, blob, new MemorySink(), options));
		}
	});

	test("a server that falls silent is given up after the stall time", async (t) => {
		const { registry, client, clock } = await fixture(t);
		const blob = registry.blob(bytes);
		registry.fault((_, response) => {
			response.writeHead(200, { "content-length": bytes.length });
			return response.write(bytes.subarray(0, 1_500_000)) || true;
		});
		const sink = new MemorySink();
		const arrived = Promise.withResolvers<void>();
		const onBytes = (): void => arrived.resolve();
		const download = downloadBlob(client, blob, sink, { signal: never, clock, stallMs: clock.stallMs, onBytes });
		await arrived.promise;
		clock.stall();
		clock.stall();
		await rejectsWith("DeadlineExceeded", download);
		assert.ok(sink.offset >= 1 << 20);
	});

	test("a cancelled download ends as Canceled, the connection with it", async (t) => {
		const { registry, client, clock } = await fixture(t);
		const blob = registry.blob(bytes);
		const closed = Promise.withResolvers<void>();
		registry.fault((_, response) => {
			response.on("close", () => closed.resolve());
			response.writeHead(200, { "content-length": bytes.length });
			return response.write(bytes.subarray(0, 1_500_000)) || true;
		});
		const abort = new AbortController();
		const onBytes = (): void => abort.abort();
		const options = { signal: abort.signal, clock, stallMs: clock.stallMs, onBytes };
		await rejectsWith("Canceled", downloadBlob(client, blob, new MemorySink(), options));
		await closed.promise;
	});

	test("what the sink refuses ends the download with its error", async (t) => {
		const { registry, client, clock } = await fixture(t);
		const sink: BlobSink = {
			offset: 0,
			write: () =>
				Promise.reject(new DaemonError("ResourceExhausted", { kind: "ingest", id: "x" }, "no space left on device")),
		};
		const options = { signal: never, clock, stallMs: clock.stallMs };
		await rejectsWith("ResourceExhausted", downloadBlob(client, registry.blob(bytes), sink, options));
	});
});
