import type { IncomingMessage } from "node:http";

/**
 * Whether a request may be answered. The server listens on the loopback address, yet a browser on this machine runs
 * strangers' pages: one that has its own name resolve to 127.0.0.1 (DNS rebinding) shows in Host, one that just tries
 * shows in Origin. Only loopback names pass in either; programs send no Origin. On the unix socket, which no page can
 * reach, file permissions decide and Host means nothing.
 *
 * @returns why it is refused; undefined when it may pass.
 */
export function refusal({ headers, socket }: Pick<IncomingMessage, "headers" | "socket">): string | undefined {
	const overUnixSocket = socket.remoteAddress === undefined;
	if (!overUnixSocket && !isLoopbackHost(headers.host ?? "")) return "the Host header is not a loopback address";
	const { origin } = headers;
	if (origin !== undefined && !isLoopbackOrigin(origin)) return "the Origin header is not a loopback address";
	return undefined;
}

function isLoopbackOrigin(origin: string): boolean {
	const match = /^https?:\/\/(.+)$/.exec(origin);
	return match?.[1] !== undefined && isLoopbackHost(match[1]);
}

const isLoopbackHost = (host: string): boolean =>
	/^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/i.test(host);
