import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { DaemonError } from "../errors/daemon-error.ts";
import type { ErrorCode } from "../errors/error-code.ts";
import { unreachable } from "./daemon-connection.ts";
import { httpAddress, type Target } from "./target.ts";

/** Milliseconds until a connected daemon must have begun its answer. */
const answerTimeoutMs = 10_000;

/** A JSON document of the daemon's inspection API. */
export async function getJson(target: Target, path: string): Promise<unknown> {
	return JSON.parse(await text(await get(target, path)));
}

/** The lines of a stream, parsed; ends with the stream, or when `signal` is aborted. */
export async function* followJson(target: Target, path: string, signal?: AbortSignal): AsyncIterable<unknown> {
	const response = await get(target, path, signal);
	try {
		for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY }))
			if (line !== "") yield JSON.parse(line);
	} catch (reason) {
		if (signal?.aborted !== true) throw DaemonError.from(reason, { kind: "stream", id: path }, "Unavailable");
	} finally {
		response.destroy();
	}
}

function get(target: Target, path: string, signal?: AbortSignal): Promise<IncomingMessage> {
	return new Promise((resolve, reject) => {
		const options = {
			socketPath: httpAddress(target),
			path,
			agent: false,
			...(signal === undefined ? {} : { signal }),
		};
		const outgoing: ClientRequest = request(options, (response) => {
			outgoing.setTimeout(0);
			if (response.statusCode === 200) return resolve(response);
			text(response).then((body) => reject(refused(path, body)), reject);
		});
		outgoing.setTimeout(answerTimeoutMs, () => outgoing.destroy(new Error(`no answer within ${answerTimeoutMs} ms`)));
		outgoing.on("error", (error) => reject(unreachable(target, error)));
		outgoing.end();
	});
}

function refused(path: string, body: string): DaemonError {
	try {
		const { code, object, problem } = JSON.parse(body) as Record<string, unknown>;
		return new DaemonError(code as ErrorCode, object as { kind: string; id: string }, String(problem));
	} catch {
		return new DaemonError("Unknown", { kind: "request", id: path }, body.trim());
	}
}
