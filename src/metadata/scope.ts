/** Under which namespace and lease a call works. A service's Call is one. */
export interface Scope {
	readonly namespace: string;
	/** New objects join this lease; NotFound if it does not exist. */
	readonly lease?: string | undefined;
}

/** An Any as it came: the bare full name and the bytes, kept even where nobody here can decode them. */
export type AnyValue = {
	readonly typeUrl: string;
	readonly value: Uint8Array;
};

/** Nanoseconds since 1970. */
export type Clock = () => bigint;

export const systemClock: Clock = () => BigInt(Date.now()) * 1_000_000n;
