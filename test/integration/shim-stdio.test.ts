import assert from "node:assert/strict";
import { closeSync, constants, existsSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { failedWith } from "../../src/sys/sys-error.ts";
import { type BundleOptions, execSpec, mkfifo, namespace, ShimHost, until } from "./shim-host.ts";

/** A client's end of an output FIFO: everything read so far, until `close`. */
class FifoReader {
	text = "";
	ended = false;
	readonly #descriptor: number;
	readonly #timer: NodeJS.Timeout;

	constructor(path: string) {
		this.#descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
		this.#timer = setInterval(() => this.#read(), 5);
	}

	#read(): void {
		const buffer = Buffer.alloc(65536);
		try {
			for (let length = -1; length !== 0; ) {
				length = readSync(this.#descriptor, buffer);
				this.text += buffer.toString("utf8", 0, length);
				this.ended = length === 0;
			}
		} catch (reason) {
			this.ended = false;
			if (!failedWith(reason, "EAGAIN")) throw reason;
		}
	}

	close(): void {
		clearInterval(this.#timer);
		closeSync(this.#descriptor);
	}
}

describe("stdio of the shim's containers", () => {
	let host: ShimHost;
	before(async () => {
		host = await ShimHost.start();
	});
	after(() => host.dispose());

	function fifos(bundle: string) {
		const [stdin = "", stdout = "", stderr = ""] = ["in", "out", "err"].map((name) => mkfifo(join(bundle, name)));
		return { stdin, stdout, stderr };
	}

	async function create(id: string, args: readonly string[], stdio: object | "fifos", options: BundleOptions = {}) {
		const bundle = host.bundle(id, args, options);
		const paths = fifos(bundle);
		const shard = await host.shard(id, bundle);
		const terminal = options.terminal ?? false;
		const io = stdio === "fifos" ? { ...paths, ...(terminal ? { stderr: "" } : {}) } : stdio;
		await shard.task.create({ id, bundle, terminal, ...io }, { namespace });
		return { ...shard, bundle, ...paths };
	}

	test("FIFOs: readers come and go, /dev/stdout opens, CloseIO ends stdin, the tail waits for its reader", async () => {
		const script = 'read a; echo "one $a"; read b; echo "two $b" > /dev/stdout; echo err >&2; cat; echo tail';
		const { task, stdin, stdout, stderr } = await create("fifo", ["sh", "-c", script], "fifos");
		const client = openSync(stdin, "w");
		await task.start({ id: "fifo" });
		writeSync(client, "A\n");
		const first = new FifoReader(stdout);
		await until("first reader", () => first.text === "one A\n");
		first.close();
		writeSync(client, "B\nmore\n");
		const errors = new FifoReader(stderr);
		await until("stderr", () => errors.text === "err\n");
		closeSync(client);
		await task.closeIO({ id: "fifo", stdin: true });
		assert.equal((await task.wait({ id: "fifo" })).exitStatus, 0);
		const second = new FifoReader(stdout); // it comes after the exit
		await until("end of file for the late reader", () => second.ended && second.text.endsWith("tail\n"));
		assert.equal(second.text, "two B\nmore\ntail\n");
		await until("end of file on stderr", () => errors.ended);
		second.close();
		errors.close();
		await task.delete({ id: "fifo" });
	});

	test("10 MB through a FIFO arrive to the last byte", async () => {
		const { task, stdout } = await create("big", ["sh", "-c", "head -c 10000000 /dev/zero"], "fifos");
		const reader = new FifoReader(stdout);
		await task.start({ id: "big" });
		await task.wait({ id: "big" });
		await until("end of file", () => reader.ended && reader.text.length >= 10_000_000);
		assert.equal(reader.text.length, 10_000_000);
		reader.close();
		await task.delete({ id: "big" });
	});

	test("a terminal: size before and after the start, input, last output before the exit", async () => {
		const script = 'stty size; read line; echo "got $line"; stty size; seq 1 2000; echo last';
		const { task, stdin, stdout } = await create("tty", ["sh", "-c", script], "fifos", { terminal: true });
		const reader = new FifoReader(stdout);
		await task.resizePty({ id: "tty", width: 101, height: 33 });
		await task.start({ id: "tty" });
		await until("size", () => reader.text.includes("33 101"));
		await task.resizePty({ id: "tty", width: 120, height: 44 });
		const client = openSync(stdin, "w");
		writeSync(client, "hello\n");
		await task.wait({ id: "tty" });
		await until("all output", () => reader.text.includes("last"));
		assert.match(reader.text, /got hello\r\n44 120\r\n1\r\n2\r\n[\s\S]*\r\n2000\r\nlast/);
		await until("end of file", () => reader.ended);
		closeSync(client);
		reader.close();
		await task.delete({ id: "tty" });
	});

	test("an exec with a terminal, and one with FIFOs", async () => {
		const { task, bundle } = await create("execs", ["sleep", "60"], {});
		await task.start({ id: "execs" });
		const [outA, outB] = [mkfifo(join(bundle, "a")), mkfifo(join(bundle, "b"))];
		const readers = [new FifoReader(outA), new FifoReader(outB)] as const;
		const tty = execSpec(["sh", "-c", "stty size; echo terminal"], true);
		await task.exec({ id: "execs", execId: "a", terminal: true, stdout: outA, spec: tty });
		await task.exec({ id: "execs", execId: "b", stdout: outB, spec: execSpec(["echo", "plain"]) });
		for (const execId of ["a", "b"]) {
			await task.start({ id: "execs", execId });
			assert.equal((await task.wait({ id: "execs", execId })).exitStatus, 0);
			await task.delete({ id: "execs", execId });
		}
		await until("output", () => readers[0].text.endsWith("terminal\r\n") && readers[1].text === "plain\n");
		for (const reader of readers) reader.close();
		await task.kill({ id: "execs", signal: 9 });
		await task.wait({ id: "execs" });
		await task.delete({ id: "execs" });
	});

	test("file:// takes both streams and is appended to", async () => {
		const file = join(host.directory, "logs/of/file.log");
		const stdio = { stdout: `file://${file}`, stderr: `file://${file}` };
		const { task } = await create("file", ["sh", "-c", "echo out; echo err >&2"], stdio);
		await task.start({ id: "file" });
		await task.wait({ id: "file" });
		await task.delete({ id: "file" });
		assert.equal(readFileSync(file, "utf8"), "out\nerr\n");
	});

	test("binary://: the logger gets arguments, identity and both streams, and ends with the container", async () => {
		const logger = join(host.directory, "logger");
		const log = join(host.directory, "logged");
		const script =
			'#!/bin/sh\necho "$1=$2 $CONTAINER_NAMESPACE/$CONTAINER_ID" > "$2"\nexec 5>&-\ncat <&3 >> "$2"; cat <&4 >> "$2"\n';
		writeFileSync(logger, script, { mode: 0o755 });
		const uri = `binary://${logger}?log=${log}`;
		const { task } = await create("binary", ["sh", "-c", "echo out; echo err >&2"], { stdout: uri, stderr: uri });
		await task.start({ id: "binary" });
		await task.wait({ id: "binary" });
		await task.delete({ id: "binary" });
		assert.equal(readFileSync(log, "utf8"), `log=${log} ${namespace}/binary\nout\nerr\n`);
	});

	test("stdio that cannot be opened refuses the creation and leaves nothing", async () => {
		const id = "no-stdio";
		const bundle = host.bundle(id, ["true"]);
		const { task } = await host.shard(id, bundle);
		await assert.rejects(task.create({ id, bundle, stdout: "weird://x" }), /unknown scheme/);
		await assert.rejects(task.create({ id, bundle, stdout: "binary:///nonexistent" }), /ENOENT/);
		await assert.rejects(task.create({ id, bundle, stdin: join(bundle, "missing") }), /ENOENT/);
		assert.equal(existsSync(join(bundle, "shim.json")), false);
	});
});
