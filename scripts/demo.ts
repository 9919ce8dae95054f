/**
 * Shows Troupe at work: a private daemon and a registry in a temporary directory, one image, four containers, what happens
 * as it happens, and a daemon that is killed in the middle. Ends with 1 if anything differs from what it announces.
 */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { busyboxImage } from "../test/fixtures/busybox-image.ts";
import { DaemonUnderTest, type StreamEvent } from "../test/fixtures/daemon-under-test.ts";
import { within } from "../test/fixtures/deadline.ts";

const isTerminal = process.stdout.isTTY;
const paint = (code: number, text: string): string => (isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = (text: string): string => paint(1, text);
const quiet = (text: string): string => paint(2, text);
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const step = (text: string): void => say(`\n${bold(text)}`);

const program = resolve(import.meta.dirname, "../bin/troupe");
const started = Date.now();
const results: { readonly what: string; readonly expected: string; readonly seen: string }[] = [];
const expect = (what: string, expected: string, seen: string): void => void results.push({ what, expected, seen });

/** Events as they come, printed; other parts of the demo wait for some of them. */
class LiveEvents {
	readonly #daemon: DaemonUnderTest;
	readonly #seen: StreamEvent[] = [];
	#wake = (): void => {};
	#last = 0;
	#over = false;

	constructor(daemon: DaemonUnderTest) {
		this.#daemon = daemon;
	}

	/** Follows the stream, across a daemon that goes and comes back, until stop(). */
	async follow(): Promise<void> {
		while (!this.#over) {
			try {
				const query = `namespace=${this.#daemon.namespace}&topic=/&since=${this.#last}`;
				for await (const event of this.#daemon.events(query)) {
					if (this.#over) return;
					this.#last = Number(event.id);
					this.#seen.push(event);
					if (/^\/(tasks|containers|images)\//.test(event.subject)) say(eventLine(event));
					this.#wake();
				}
			} catch {
				if (!this.#over) await pause(50); // the daemon is away; it is expected back
			}
		}
	}

	stop(): void {
		this.#over = true;
	}

	all(subject: string, id: string): StreamEvent[] {
		return this.#seen.filter((event) => event.subject === subject && event.data.containerId === id);
	}

	/** The first event of a kind about a container, past or to come. */
	async first(subject: string, id: string): Promise<StreamEvent> {
		return within(30_000, `${subject} of ${id}`, async (signal) => {
			for (;;) {
				signal.throwIfAborted();
				const event = this.all(subject, id)[0];
				if (event !== undefined) return event;
				await new Promise<void>((next) => {
					this.#wake = next;
					signal.addEventListener("abort", () => next(), { once: true });
				});
			}
		});
	}
}

function eventLine({ id, subject, data }: StreamEvent): string {
	const { containerId, id: other, name, exitStatus } = data;
	const exit = subject === "/tasks/exit" ? ` with ${exitStatus ?? 0}` : "";
	return quiet(`   ${id.padStart(4)}  ${subject.padEnd(18)} ${containerId ?? name ?? other ?? ""}${exit}`);
}

/** Runs `troupe` with its output shown here, as a user would see it. */
async function show(daemon: DaemonUnderTest, ...args: string[]): Promise<number> {
	say(`$ troupe ${args.map((arg) => (/[\s'"]/.test(arg) ? `'${arg}'` : arg)).join(" ")}`);
	const child = spawn(program, ["--address", daemon.socket, "--namespace", daemon.namespace, ...args], {
		stdio: ["ignore", "inherit", "inherit"],
	});
	return within(
		60_000,
		`troupe ${args[0]}`,
		() =>
			new Promise<number>((settle, reject) => {
				child.once("error", reject);
				child.once("exit", (code) => settle(code ?? 128));
			}),
	);
}

const isAlive = (pid: number): boolean => {
	try {
		return !/^\S+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
	} catch {
		return false; // gone
	}
};

async function demo(daemon: DaemonUnderTest, events: LiveEvents): Promise<void> {
	step("1. An image: busybox and two layers of data, in a registry on this machine");
	const data = (name: string, megabytes: number) => [
		{ name: "data" },
		{ name: `data/${name}`, content: randomBytes(megabytes << 20) },
	];
	const image = await daemon.registry.push(
		busyboxImage({ layers: [data("one", 8), data("two", 16)] }),
		"demo/app",
		"1",
	);
	const pulled = await show(daemon, "pull", image);
	expect("pull", "0", String(pulled));
	if (pulled !== 0) throw new Error("without its image there is nothing to show");

	const following = events.follow();

	step("2. A container in the foreground: its output and its exit code are the command's");
	expect(
		"run in the foreground",
		"0",
		String(await show(daemon, "run", "--rm", image, "echo", "hello from a container")),
	);

	step("3. Four containers");
	const signals = join(daemon.directory, "signals");
	mkdirSync(signals);
	const survive = "until [ -e /signals/go ]; do sleep 0.05; done; exit 42";
	await show(daemon, "run", "-d", "--name", "fine", image, "true");
	await show(daemon, "run", "-d", "--name", "seven", image, "sh", "-c", "exit 7");
	await show(daemon, "run", "-d", "--name", "hungry", "--memory", "16m", image, "tail", "/dev/zero");
	const mount = `type=bind,src=${signals},dst=/signals,options=rbind:ro`;
	await show(daemon, "run", "-d", "--name", "survivor", "--mount", mount, image, "sh", "-c", survive);
	for (const [id, code] of [
		["fine", 0],
		["seven", 7],
		["hungry", 137],
	] as const) {
		const { data: exit } = await events.first("/tasks/exit", id);
		expect(`exit code of ${id}`, String(code), String(exit.exitStatus ?? 0));
	}
	expect("hungry ran out of memory", "1 event", count(events.all("/tasks/oom", "hungry")));
	const { data: start } = await events.first("/tasks/start", "survivor");
	const pid = Number(start.pid);

	step("4. The tree of actors");
	await show(daemon, "tree");

	step("5. The daemon is killed (SIGKILL); survivor ends with 42 while nobody is there to see it");
	await daemon.kill();
	say("   daemon: gone");
	expect("survivor lives without the daemon", "true", String(isAlive(pid)));
	writeFileSync(join(signals, "go"), "");
	await within(10_000, "survivor ends", async (signal) => {
		for (; isAlive(pid); await pause(20)) signal.throwIfAborted();
	});
	say("   survivor: gone");
	await daemon.start();
	say("   daemon: back");
	const { data: exit } = await events.first("/tasks/exit", "survivor");
	expect("exit code of survivor", "42", String(exit.exitStatus));
	await show(daemon, "ps");
	await show(daemon, "inspect", "survivor");

	step("6. Everything is removed");
	expect("rm", "0", String(await show(daemon, "rm", "fine", "seven", "hungry", "survivor")));
	for (const id of ["fine", "seven", "hungry", "survivor"])
		expect(`exits of ${id} in the journal`, "1 event", count(events.all("/tasks/exit", id)));
	expect("rmi", "0", String(await show(daemon, "rmi", image)));
	events.stop();
	await daemon.stop();
	await following;
}

const count = (events: readonly StreamEvent[]): string => `${events.length} event${events.length === 1 ? "" : "s"}`;

function summary(): boolean {
	step("Summary");
	const width = Math.max(...results.map(({ what }) => what.length));
	for (const { what, expected, seen } of results)
		say(
			`   ${what.padEnd(width)}  ${seen.padEnd(9)} ${seen === expected ? paint(32, "as announced") : paint(31, `DIFFERS: ${expected} was announced`)}`,
		);
	say(`\n${((Date.now() - started) / 1000).toFixed(1)} s`);
	return results.every(({ expected, seen }) => expected === seen);
}

say(bold("Troupe: a container daemon whose state can be explained"));
const daemon = await DaemonUnderTest.open();
say(quiet(`private daemon ${daemon.pid} on ${daemon.socket}, registry on ${daemon.registry.host}`));
const events = new LiveEvents(daemon);
let problem: unknown;
try {
	await demo(daemon, events);
} catch (error) {
	problem = error;
}
events.stop();
let left = "nothing";
try {
	await daemon.close();
} catch (error) {
	left = error instanceof Error ? error.message : String(error);
}
expect("left behind", "nothing", left);
if (problem !== undefined)
	say(`\n${paint(31, "The demo broke off:")} ${problem instanceof Error ? problem.stack : String(problem)}`);
process.exit(summary() && problem === undefined ? 0 : 1);
