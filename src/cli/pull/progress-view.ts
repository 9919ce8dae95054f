import type { WriteStream } from "node:tty";
import type { Progress } from "../../gen/containerd/types/transfer/progress.ts";
import { bytes } from "../human.ts";

/** Shows a transfer's progress. Updates come many times a second; what is drawn is bounded. */
export interface ProgressView {
	update(progress: Progress): void;
	/** The last state stays. */
	finish(): void;
	/** The transfer failed: leaves the cursor where an error message can follow. */
	abandon(): void;
}

type Output = Pick<WriteStream, "write"> & Partial<Pick<WriteStream, "isTTY" | "columns">>;

/** Bars on a terminal, a line per event otherwise, nothing when `quiet`. */
export const progressView = (output: Output, quiet: boolean): ProgressView =>
	quiet ? silent : output.isTTY === true ? new Bars(output) : new Lines(output);

const silent: ProgressView = { update() {}, finish() {}, abandon() {} };

/** Events after which nothing more comes for a name (containerd: core/transfer progress). */
const finalEvents = new Set(["complete", "done", "already exists", "exists", "extracted", "saved"]);

const isFinal = ({ event, progress, total }: Progress): boolean =>
	finalEvents.has(event.toLowerCase()) || (total > 0n && progress >= total && /complete|done/i.test(event));

/** Blobs are called by their kind and digest: `layer-sha256:0123…`. */
const shortName = (name: string): string => name.replace(/sha256:([0-9a-f]{12})[0-9a-f]*/, "$1");

/** For pipes and logs: each name's events once, without the numbers in between. */
class Lines implements ProgressView {
	readonly #output: Output;
	readonly #last = new Map<string, string>();

	constructor(output: Output) {
		this.#output = output;
	}

	update(progress: Progress): void {
		const { name, event, total } = progress;
		if (this.#last.get(name) === event) return;
		this.#last.set(name, event);
		const size = total > 0n ? ` ${bytes(Number(total))}` : "";
		this.#output.write(`${[shortName(name), event].filter((word) => word !== "").join(" ")}${size}\n`);
	}

	finish(): void {}
	abandon(): void {}
}

const frameMs = 50;

class Bars implements ProgressView {
	readonly #output: Output;
	readonly #rows = new Map<string, Progress>();
	readonly #started = Date.now();
	#drawnRows = 0;
	#timer: NodeJS.Timeout | undefined;

	constructor(output: Output) {
		this.#output = output;
	}

	update(progress: Progress): void {
		if (progress.name === "") return; // sentences about the whole; the bars say it better
		this.#rows.set(progress.name, progress);
		this.#timer ??= setTimeout(() => this.#draw(), frameMs);
	}

	finish(): void {
		this.#draw();
		const total = [...this.#rows.values()].reduce((sum, row) => sum + row.total, 0n);
		this.#output.write(`${bytes(Number(total))} in ${((Date.now() - this.#started) / 1000).toFixed(1)} s\n`);
	}

	abandon(): void {
		this.#draw();
	}

	#draw(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		const width = this.#output.columns ?? 80;
		const lines = [...this.#rows.values()].map((row) => barLine(row, width));
		const up = this.#drawnRows === 0 ? "" : `\x1b[${this.#drawnRows}A`;
		this.#output.write(`${up}${lines.map((line) => `\r\x1b[K${line}\n`).join("")}`);
		this.#drawnRows = lines.length;
	}
}

/** One row: name, event, bar, numbers; never wider than the terminal. */
export function barLine(row: Progress, width: number): string {
	const { name, event, progress, total } = row;
	const head = `${shortName(name).padEnd(26).slice(0, 40)} ${event.padEnd(12)}`;
	if (total === 0n) return head.slice(0, width - 1);
	const share = isFinal(row) ? 1 : Math.min(1, Number(progress) / Number(total));
	const numbers = ` ${bytes(Number(progress))} / ${bytes(Number(total))}`;
	const room = width - head.length - numbers.length - 4;
	if (room < 8) return `${head}${numbers}`.slice(0, width - 1);
	const cells = Math.min(40, room);
	const full = Math.round(share * cells);
	return `${head} [${"█".repeat(full)}${"░".repeat(cells - full)}]${numbers}`;
}
