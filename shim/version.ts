/** The shim's own version; the protocol versions are fixed in start.ts and task-service.ts. */
export const version = "0.1.0";
export const runtimeName = "io.containerd.troupe.v2";
