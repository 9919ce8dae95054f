import { DaemonError, type ObjectIdentity } from "../../errors/daemon-error.ts";
import type { ErrorCode } from "../../errors/error-code.ts";
import type { HttpResponse } from "./http-transport.ts";

/** Bytes of an error's body that are read. */
const longestBody = 64 << 10;
const longestMessage = 300;

/** What an answer means that is not what was asked for. Takes the body. */
export async function failureOf(
	answer: HttpResponse,
	object: ObjectIdentity,
	withSecret: boolean,
): Promise<DaemonError> {
	const { status, url } = answer;
	const said = await messageOf(answer);
	const where = `${url.protocol}//${url.host}${url.pathname}`;
	const problem = `${wordsOf(status)} (${status} from ${where}${said === "" ? "" : `: ${said}`})`;
	return new DaemonError(codeOf(status, withSecret), object, problem);
}

function codeOf(status: number, withSecret: boolean): ErrorCode {
	if (status === 404 || status === 410) return "NotFound";
	if (status === 401) return withSecret ? "PermissionDenied" : "Unauthenticated";
	if (status === 403) return "PermissionDenied";
	if (status === 408 || status === 429 || status >= 500) return "Unavailable";
	return "Unknown";
}

function wordsOf(status: number): string {
	if (status === 404 || status === 410) return "not found";
	if (status === 401) return "pull access denied, repository does not exist or may require authorization";
	if (status === 403) return "pull access denied";
	if (status === 429) return "the registry takes no more requests for now";
	return "unexpected status";
}

/** What the registry says itself (distribution-spec, "Error Codes"), cut short and without control characters. */
async function messageOf({ body }: HttpResponse): Promise<string> {
	const chunks: Buffer[] = [];
	let length = 0;
	try {
		for await (const chunk of body) {
			chunks.push(chunk as Buffer);
			length += (chunk as Buffer).length;
			if (length > longestBody) break;
		}
	} catch {
		return ""; // The status is known; a body that breaks says nothing more.
	}
	const text = Buffer.concat(chunks).toString("utf8");
	return printable(errorsIn(text) ?? "").slice(0, longestMessage);
}

function errorsIn(text: string): string | undefined {
	try {
		const value = JSON.parse(text) as { errors?: readonly { code?: unknown; message?: unknown }[] } | null;
		const errors = Array.isArray(value?.errors) ? value.errors : [];
		return errors
			.map(({ code, message }) => [code, message].filter((part) => typeof part === "string").join(": "))
			.join("; ");
	} catch {
		return undefined;
	}
}

const printable = (text: string): string => text.replace(/[^\P{C}]+/gu, " ");

/** What broke a connection, in words; a cancellation stays one. */
export function connectionFailure(reason: unknown, url: URL, object: ObjectIdentity, signal: AbortSignal): DaemonError {
	if (reason instanceof DaemonError) return reason;
	if (signal.aborted) return DaemonError.from(signal.reason, object, "Canceled");
	const { code = "", message = String(reason) } = reason instanceof Error ? (reason as NodeJS.ErrnoException) : {};
	const where = `${url.protocol}//${url.host}`;
	const timeout = /^(UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT|ETIMEDOUT)$/.test(code);
	const problem = timeout ? `${where} did not answer in time` : `${where}: ${message === "" ? code : message}`;
	return new DaemonError("Unavailable", object, problem, { cause: reason });
}
