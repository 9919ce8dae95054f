/**
 * How a caller should react to an error. The names are containerd's error classes; {@link grpcStatus} is the only
 * place where they become numbers of the wire.
 */
export type ErrorCode =
	| "Canceled"
	| "Unknown"
	| "InvalidArgument"
	| "DeadlineExceeded"
	| "NotFound"
	| "AlreadyExists"
	| "PermissionDenied"
	| "ResourceExhausted"
	| "FailedPrecondition"
	| "Aborted"
	| "OutOfRange"
	| "Unimplemented"
	| "Internal"
	| "Unavailable"
	| "DataLoss"
	| "Unauthenticated";

/** gRPC status numbers (grpc/doc/statuscodes.md); ttrpc uses the same. */
export const grpcStatus = {
	Canceled: 1,
	Unknown: 2,
	InvalidArgument: 3,
	DeadlineExceeded: 4,
	NotFound: 5,
	AlreadyExists: 6,
	PermissionDenied: 7,
	ResourceExhausted: 8,
	FailedPrecondition: 9,
	Aborted: 10,
	OutOfRange: 11,
	Unimplemented: 12,
	Internal: 13,
	Unavailable: 14,
	DataLoss: 15,
	Unauthenticated: 16,
} as const satisfies Record<ErrorCode, number>;

const byNumber = new Map<number, ErrorCode>(
	Object.entries(grpcStatus).map(([code, number]) => [number, code as ErrorCode]),
);

/** The class behind a status number of the wire; an unlisted number is Unknown. */
export const errorCodeOf = (status: number): ErrorCode => byNumber.get(status) ?? "Unknown";
