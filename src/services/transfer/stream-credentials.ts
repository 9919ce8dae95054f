import { DaemonError } from "../../errors/daemon-error.ts";
import { AuthRequest, AuthResponse, AuthType } from "../../gen/containerd/types/transfer/registry.ts";
import type { CredentialSource } from "../../images/registry/credentials.ts";
import type { NamedStream } from "../streaming/stream-registry.ts";
import { decodeAny } from "../wire.ts";

/** Asks the client for what to show to a host, over the stream that it opened for that. One question at a time. */
export function streamCredentials(stream: NamedStream, reference: string): CredentialSource {
	let last: Promise<unknown> = Promise.resolve();
	const ask = async (host: string) => {
		const value = AuthRequest.encode({ host, reference, wwwauthenticate: [] }).finish();
		await stream.send({ typeUrl: "containerd.types.transfer.AuthRequest", value });
		const answer = await stream.receive();
		const identity = { kind: "stream", id: stream.id };
		if (answer === undefined) throw new DaemonError("Unauthenticated", identity, `has no credentials for ${host}`);
		const { authType, username, secret } = decodeAny(AuthResponse, "containerd.types.transfer.AuthResponse", answer);
		switch (authType) {
			case AuthType.NONE:
				return undefined;
			case AuthType.CREDENTIALS:
				return { username, secret };
			case AuthType.REFRESH:
				return { username: "", secret };
			default:
				throw new DaemonError("Unimplemented", identity, "credentials as a header are not there yet");
		}
	};
	return (host) => {
		const answer = last.then(() => ask(host));
		last = answer.catch(() => undefined);
		return answer;
	};
}
