import { nativeKernel } from "../../src/sys/native-kernel.ts";
import { exitOfStranger, openPidfd } from "../../src/sys/pidfd.ts";
import type { StreamEvent } from "../fixtures/daemon-under-test.ts";

/** What the daemon has told of one process, and what the kernel knows of it. */
interface Account {
	readonly container: string;
	/** Empty for the init. */
	readonly exec: string;
	pid: number;
	pidfd: number | undefined;
	/** Statuses that the workload has given it reason to end with. */
	readonly expected: Set<number>;
	/** When we saw it end: milliseconds since 1970. */
	endedAt: number | undefined;
	/** Between these the process lived and ended. */
	readonly since: number;
	until: number;
	/** Topics in the order of the journal; an exit with its status. */
	readonly told: string[];
	/** What the answers to wait and delete said. */
	readonly answers: Set<number>;
	poll: { close(): void } | undefined;
}

/**
 * The model: every process that was made, how it may end, and what was told of it. The truth about an exit is the kernel's:
 * the ledger holds a pidfd of each process and asks it, so that it believes neither the daemon nor the workload.
 */
export class Ledger {
	readonly #accounts = new Map<string, Account>();
	readonly #problems: string[] = [];
	/** Whether all who could know an exit may have been dead at some moment between these. */
	readonly #nobodyKnew: (from: number, to: number) => boolean;
	/** Steps of the actors, by container. */
	readonly #steps = new Map<string, string[]>();
	exits = 0;
	/** Exits that were told as unknown, and rightly so. */
	readonly unknown: string[] = [];

	constructor(nobodyKnew: (from: number, to: number) => boolean) {
		this.#nobodyKnew = nobodyKnew;
	}

	get problems(): readonly string[] {
		return this.#problems;
	}

	problem(text: string): void {
		this.#problems.push(text);
	}

	/** A process that may come to exist. */
	expect(container: string, exec: string, statuses: readonly number[]): void {
		const account = this.#account(container, exec);
		for (const status of statuses) account.expected.add(status);
	}

	/** Its pid is known: from now on the kernel tells how it ends. */
	made(container: string, exec: string, pid: number): void {
		const account = this.#account(container, exec);
		if (pid === 0 || account.pid === pid) return;
		if (account.pid !== 0) {
			this.problem(`${container}/${exec}: pid ${account.pid} has become ${pid}`);
			return;
		}
		account.pid = pid;
		account.pidfd = openPidfd(nativeKernel, pid);
		if (account.pidfd === undefined) return; // too late: it has ended, who knows when
		account.poll = nativeKernel.poll(account.pidfd, () => {
			account.endedAt ??= Date.now();
			account.poll?.close();
		});
	}

	answered(container: string, exec: string, status: number): void {
		const account = this.#account(container, exec);
		account.answers.add(status);
		account.until = Math.min(account.until, Date.now());
	}

	/** An event of the journal, or a step of an actor. */
	tell({ subject, data, time }: StreamEvent): void {
		const [, , , actor] = subject.split("/");
		if (subject.startsWith("/task-manager/") && actor !== undefined) {
			const path = subject.split("/").slice(4).join("/");
			const steps = this.#steps.get(actor) ?? [];
			this.#steps.set(actor, steps);
			steps.push(
				`${time} ${path === "" ? "" : `${path}: `}${data.from} → ${data.to} by ${(data.message as { type?: string }).type}`,
			);
			return;
		}
		const container = String(data.containerId);
		const exec = subject === "/tasks/exit" && data.id !== container ? String(data.id) : String(data.execId ?? "");
		if (!subject.startsWith("/tasks/")) return;
		const account = this.#account(container, exec);
		const pid = Number(data.pid ?? 0);
		const tellsPid = subject === "/tasks/create" || subject === "/tasks/exec-started" || subject === "/tasks/exit";
		if (tellsPid && account.pid === 0) account.pid = pid;
		else if (tellsPid && account.pid !== pid) this.problem(`${container}/${exec}: pid ${account.pid}, told ${pid}`);
		const exit = `exit ${Number(data.exitStatus ?? 0)}${data.unknown === true ? " unknown" : ""}`;
		account.told.push(subject === "/tasks/exit" ? exit : subject.slice("/tasks/".length));
	}

	/** Everything has ended and every event was read: compares all accounts with what was told of them. */
	close(): void {
		for (const account of this.#accounts.values()) {
			this.#judge(account);
			account.poll?.close();
			if (account.pidfd !== undefined) nativeKernel.close(account.pidfd);
		}
	}

	#judge({ container, exec, pid, pidfd, expected, told, answers, endedAt, since, until }: Account): void {
		const name = exec === "" ? container : `${container}/${exec}`;
		const story = (what: string): string =>
			`${name} (pid ${pid}, ended ${endedAt === undefined ? "unseen" : new Date(endedAt).toISOString()}): ${what}; told: ${told.join(", ") || "nothing"}\n\t${(this.#steps.get(container) ?? []).join("\n\t")}`;
		const complain = (what: string): void => this.problem(story(what));
		const exits = told.filter((word) => word.startsWith("exit ")).map((word) => Number(word.split(" ")[1]));
		const begun = told.includes(exec === "" ? "create" : "exec-started");
		if (!begun) {
			if (exits.length > 0) complain("an exit of what was never told to exist");
			return;
		}
		if (exits.length !== 1) {
			complain(`${exits.length} exits`);
			return;
		}
		const [status = -1] = exits;
		this.exits++;
		const order = exec === "" ? ["create", "start", "exit", "delete"] : ["exec-added", "exec-started", "exit"];
		const places = told.map((word) => order.indexOf(word.split(" ")[0] ?? "")).filter((place) => place >= 0);
		if (places.some((place, index) => index > 0 && place <= (places[index - 1] ?? -1)))
			complain("told in the wrong order, or twice");
		if (exec === "" && !told.includes("delete")) complain("its deletion was not told");
		for (const answer of answers) if (answer !== status) complain(`an answer said ${answer}, the event ${status}`);
		const truth = pidfd === undefined ? undefined : exitOfStranger(nativeKernel, pidfd, pid);
		if (truth === status) {
			// Its program never ran: crun's and runc's init ends with 1 when who starts it dies in the middle, and runc's with 2 when
			// its terminal hangs up (a Go program that SIGHUP cannot kill, for it is the init of its pid namespace).
			const isBrokenStart = exec === "" && (status === 1 || status === 2) && !told.includes("start");
			if (!expected.has(status) && !isBrokenStart)
				complain(`ended with ${status}, expected ${[...expected].join(" or ")}`);
			return;
		}
		// Of one that had ended before we could look, we know the moment as little as anybody. And an exec that was being made
		// when all died has init for its parent: who finds it has a pidfd at most, and may die in the moment of the exit.
		const from = exec === "" ? (endedAt ?? since) : since;
		if (told.includes("exit 255 unknown") && this.#nobodyKnew(from, endedAt ?? until))
			this.unknown.push(story(`its true status is ${truth}`));
		else if (truth !== undefined) complain(`its true status is ${truth}`);
		else if (!expected.has(status)) complain(`told ${status}, expected ${[...expected].join(" or ")}`);
	}

	#account(container: string, exec: string): Account {
		const key = `${container}/${exec}`;
		let account = this.#accounts.get(key);
		if (account === undefined) {
			const nothing = { pid: 0, pidfd: undefined, endedAt: undefined, poll: undefined };
			const span = { since: Date.now(), until: Number.POSITIVE_INFINITY };
			account = { container, exec, ...nothing, ...span, expected: new Set(), told: [], answers: new Set() };
			this.#accounts.set(key, account);
		}
		return account;
	}
}
