import { readdirSync, readFileSync } from "node:fs";
import { parentOf } from "../../src/sys/pidfd.ts";
import type { DaemonUnderTest } from "../fixtures/daemon-under-test.ts";
import { pause, progress } from "./persistent.ts";
import type { Random } from "./random.ts";

/** Who is killed together. */
const victims = {
	daemon: 30,
	shard: 30,
	shards: 5,
	standby: 10,
	"daemon and shard": 8,
	"shard and standby": 6,
	"daemon and standby": 4,
	everybody: 4,
	"short-lived shim": 3,
} as const;

interface Span {
	readonly from: number;
	to: number;
}

/** The daemon and its shims: killed at random moments; the daemon is started again, as a service manager does. */
export class Mortals {
	readonly #daemon: DaemonUnderTest;
	readonly #random: Random;
	readonly #problem: (text: string) => void;
	/** When none of a kind could look: of the daemon until it serves, of shards until then too, of the standby until it is seen. */
	readonly #absent = { daemon: [] as Span[], shard: [] as Span[], standby: [] as Span[] };
	readonly kills: Record<"daemon" | "shard" | "standby" | "other", number> = {
		daemon: 0,
		shard: 0,
		standby: 0,
		other: 0,
	};
	#restart: Promise<void> = Promise.resolve();
	/** What happened when, for whoever looks for the cause of a problem. */
	readonly history: string[] = [];

	constructor(daemon: DaemonUnderTest, random: Random, problem: (text: string) => void) {
		this.#daemon = daemon;
		this.#random = random;
		this.#problem = problem;
	}

	get count(): number {
		return Object.values(this.kills).reduce((sum, count) => sum + count, 0);
	}

	/** Whether daemon, some shard and standby were away at some time between, give or take the time to notice. */
	allAbsent(from: number, to: number): boolean {
		const meets = (spans: readonly Span[]) =>
			spans.some((span) => span.from - slackMs <= to && from <= span.to + slackMs);
		return Object.values(this.#absent).every(meets);
	}

	/** Kills processes until there were `count`. */
	async rage(count: number, tell: (kills: number) => void): Promise<void> {
		while (this.count < count) {
			if (this.#random.chance(0.75)) await this.#work(this.#random.integer(1, 40));
			await pause(this.#random.integer(0, 60));
			await this.#strike(this.#random.weighted(victims));
			tell(this.count);
		}
		await this.#restart;
	}

	/** Between most blows the clients get some answers: where nothing is ever done there is little to lose. */
	async #work(answers: number): Promise<void> {
		await this.#restart;
		const [goal, end] = [progress.answers + answers, Date.now() + longestRestMs];
		while (progress.answers < goal && Date.now() < end) await pause(5);
	}

	async #strike(who: keyof typeof victims): Promise<void> {
		const shims = this.#shims();
		if (shims.standby.length > 0) this.#ended("standby");
		const one = <T>(items: readonly T[]): readonly T[] => (items.length === 0 ? [] : [this.#random.pick(items)]);
		const all = who === "everybody";
		const shards = all || who === "shards" ? shims.shard : who.includes("shard") ? one(shims.shard) : [];
		const standbys = all || who.includes("standby") ? shims.standby : [];
		const others = all || who === "short-lived shim" ? shims.other : [];
		for (const pid of shards) this.#kill("shard", pid);
		for (const pid of standbys) this.#kill("standby", pid);
		for (const pid of others) this.#kill("other", pid);
		if (all || who.includes("daemon")) await this.#killDaemon();
	}

	#kill(kind: "shard" | "standby" | "other", pid: number): void {
		try {
			process.kill(pid, "SIGKILL");
		} catch (reason) {
			if ((reason as NodeJS.ErrnoException).code === "ESRCH") return; // it had just ended
			throw reason;
		}
		this.kills[kind]++;
		this.#note(`${kind} ${pid} killed`);
		if (kind !== "other") this.#absent[kind].push({ from: Date.now(), to: Number.POSITIVE_INFINITY });
	}

	async #killDaemon(): Promise<void> {
		this.kills.daemon++;
		this.#note(`daemon ${this.#daemon.pid} killed`);
		this.#absent.daemon.push({ from: Date.now(), to: Number.POSITIVE_INFINITY });
		await this.#daemon.kill();
		await this.#restart;
		await pause(this.#random.integer(0, 400));
		this.#restart = this.#daemon.start().then(
			() => this.#present(),
			(reason: unknown) => {
				if (!String(reason).includes("SIGKILL")) this.#problem(`the daemon did not start: ${String(reason)}`);
			},
		);
	}

	/** The daemon serves: it has found its shims, or others for them. */
	#present(): void {
		this.#note(`daemon ${this.#daemon.pid} serves`);
		for (const kind of ["daemon", "shard"] as const) this.#ended(kind);
	}

	#ended(kind: "daemon" | "shard" | "standby"): void {
		for (const span of this.#absent[kind]) if (span.to === Number.POSITIVE_INFINITY) span.to = Date.now();
	}

	#note(what: string): void {
		this.history.push(`${new Date().toISOString()} ${what}`);
	}

	/**
	 * By the last word of their command lines. Until a child has become its own program it shows its parent's: those are not
	 * shims.
	 */
	#shims(): Record<"shard" | "standby" | "other", number[]> {
		const found = { shard: [] as number[], standby: [] as number[], other: [] as number[] };
		for (const name of readdirSync("/proc")) {
			const pid = Number(name);
			if (!Number.isInteger(pid)) continue;
			const words = commandLine(pid);
			if (
				!words.some((word) => word.endsWith("shim.mjs")) ||
				!words.some((word) => word.startsWith(this.#daemon.directory))
			)
				continue;
			const last = words.at(-1);
			if (commandLine(parentOf(pid) ?? 0).join() === words.join()) continue;
			found[last === "shard" ? "shard" : last === "standby-process" ? "standby" : "other"].push(pid);
		}
		return found;
	}
}

const longestRestMs = 10_000;
/** Between a kill and its effect, and between an exit and our seeing it. */
const slackMs = 300;

function commandLine(pid: number): string[] {
	try {
		return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").filter(Boolean);
	} catch {
		return []; // ended while we looked
	}
}
