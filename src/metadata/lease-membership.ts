import { isDigest } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import type { Scope } from "./scope.ts";
import type { Reader, Transaction } from "./store/store.ts";
import { leaseResources, leases } from "./tables.ts";

/** What a lease keeps alive. `type` is `content`, `ingests`, `images` or `snapshots/<snapshotter>`. */
export type LeaseResource = { readonly type: string; readonly id: string };

/** InvalidArgument for a type that is misspelt or an id that cannot be; Unimplemented for a type nobody knows. */
export function checkedResource(lease: string, { type, id }: LeaseResource): LeaseResource {
	const refuse = (code: "InvalidArgument" | "Unimplemented", problem: string) =>
		new DaemonError(code, { kind: "lease", id: lease }, problem);
	const [kind, snapshotter, ...rest] = type.split("/");
	switch (kind) {
		case "content":
		case "ingests":
		case "images":
			if (snapshotter !== undefined) throw refuse("InvalidArgument", `invalid resource type ${type}`);
			if (kind === "content" && !isDigest(id)) throw refuse("InvalidArgument", `invalid content resource id ${id}`);
			break;
		case "snapshots":
			if (snapshotter === undefined || rest.length > 0)
				throw refuse("InvalidArgument", `invalid snapshot resource type ${type}`);
			break;
		default:
			throw refuse("Unimplemented", `resource type ${type} not supported yet`);
	}
	return { type, id };
}

/** A lease's id may hold slashes. */
const prefixOf = (lease: string): string => `${encodeURIComponent(lease)}/`;
const nameOf = (lease: string, { type, id }: LeaseResource): string => `${prefixOf(lease)}${type}/${id}`;

/** Makes the object one of the call's lease; true if the call has one. NotFound if that does not exist. */
export function joinLease(transaction: Transaction, { namespace, lease }: Scope, resource: LeaseResource): boolean {
	if (lease === undefined) return false;
	leases.require(transaction, namespace, lease);
	const name = nameOf(lease, resource);
	if (leaseResources.get(transaction, namespace, name) === undefined)
		leaseResources.put(transaction, namespace, name, { lease, ...resource });
	return true;
}

/** The object is gone or has another name: the call's lease forgets it. */
export function leaveLease(transaction: Transaction, { namespace, lease }: Scope, resource: LeaseResource): void {
	if (lease === undefined) return;
	const name = nameOf(lease, resource);
	if (leaseResources.get(transaction, namespace, name) !== undefined)
		leaseResources.remove(transaction, namespace, name);
}

export const resourcesOf = (reader: Reader, namespace: string, lease: string): readonly LeaseResource[] =>
	leaseResources.list(reader, namespace, prefixOf(lease)).map(([, { type, id }]) => ({ type, id }));

export const forgetResources = (transaction: Transaction, namespace: string, lease: string): void =>
	leaseResources.clear(transaction, namespace, prefixOf(lease));
