import { VersionDefinition } from "../../gen/containerd/services/version/v1/version.ts";
import { type Service, service } from "../rpc.ts";

/** What this build is. */
export interface BuildVersion {
	readonly version: string;
	/** The commit it was built from; empty when unknown. */
	readonly revision: string;
}

/** Answers without a namespace: `ctr version` asks before it knows one. */
export const versionService = ({ version, revision }: BuildVersion): Service =>
	service(VersionDefinition, { version: async () => ({ version, revision }) });
