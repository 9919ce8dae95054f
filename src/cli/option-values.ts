import { constants } from "node:os";
import { DaemonError } from "../errors/daemon-error.ts";

const refuse = (option: string, problem: string): DaemonError =>
	new DaemonError("InvalidArgument", { kind: "option", id: option }, problem);

const units: Readonly<Record<string, number>> = { "": 1, b: 1, k: 1 << 10, m: 1 << 20, g: 1 << 30, t: 2 ** 40 };

/** `64m`, `1.5g`, `1000000`: bytes, with units of 1024 as in docker. */
export function parseBytes(option: string, text: string): bigint {
	const match = /^(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?$/i.exec(text);
	if (match === null) throw refuse(option, `"${text}" is not a size; use a number with k, m or g, such as 64m`);
	return BigInt(Math.floor(Number(match[1]) * (units[match[2]?.toLowerCase() ?? ""] ?? 1)));
}

/** A number above zero. */
export function parsePositive(option: string, text: string): number {
	const value = Number(text);
	if (text.trim() === "" || !Number.isFinite(value) || value <= 0)
		throw refuse(option, `"${text}" is not a number above 0`);
	return value;
}

/** `KILL`, `SIGKILL`, `sigkill` or `9`. */
export function parseSignal(text: string): number {
	const number = /^\d+$/.test(text) ? Number(text) : undefined;
	if (number !== undefined) {
		if (number >= 1 && number <= 64) return number;
		throw refuse("signal", `${text} is not between 1 and 64`);
	}
	const name = text.toUpperCase();
	const realTime = /^(?:SIG)?RTMIN(?:\+(\d+))?$/.exec(name);
	if (realTime !== null) return 34 + Number(realTime[1] ?? 0);
	const known: Readonly<Record<string, number>> = constants.signals;
	const signal = known[name.startsWith("SIG") ? name : `SIG${name}`];
	if (signal === undefined) throw refuse("signal", `"${text}" is not the name of a signal`);
	return signal;
}

/** `type=bind,src=/a,dst=/b,options=rbind:ro` is read by src/oci; docker's short `-v /a:/b[:ro]` becomes the same. */
export function parseVolume(text: string): string {
	const [source, destination, options = ""] = text.split(":");
	if (source === undefined || destination === undefined)
		throw refuse("volume", `"${text}": use SOURCE:DESTINATION[:ro]`);
	return `type=bind,src=${source},dst=${destination},options=rbind${options === "" ? "" : `:${options.replaceAll(",", ":")}`}`;
}
