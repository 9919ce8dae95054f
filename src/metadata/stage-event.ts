import type { Transaction } from "./store/store.ts";

interface Encoder<T> {
	encode(message: T): { finish(): Uint8Array };
}

/**
 * Stages an event in the transaction that makes it true. The type URL is the bare full name, as containerd writes it
 * (typeurl): readers of 1.x look it up as it is.
 */
export const stageEvent = <T>(
	transaction: Transaction,
	namespace: string,
	topic: string,
	typeUrl: string,
	codec: Encoder<T>,
	message: T,
): void =>
	transaction.record({
		kind: "event",
		namespace,
		subject: topic,
		body: { typeUrl, value: codec.encode(message).finish() },
	});
