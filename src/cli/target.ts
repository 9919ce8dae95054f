/** Which daemon, and which namespace of it. */
export interface Target {
	/** Path of the daemon's gRPC socket; its ttrpc and HTTP sockets are beside it. */
	readonly address: string;
	readonly namespace: string;
	readonly output: "table" | "json";
}

export const defaultAddress = "/run/troupe/troupe.sock";

/** The daemon's socket for unary calls: a client of it loads 20 ms faster than one of gRPC. */
export const ttrpcAddress = ({ address }: Target): string => `${address}.ttrpc`;

/** The daemon's socket for the live stream and the inspection API. */
export const httpAddress = ({ address }: Target): string => `${address}.http`;
