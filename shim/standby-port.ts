import type { Container } from "./container.ts";
import type { Exit } from "./exit.ts";
import type { ContainerProcess } from "./process.ts";

/** What a shard asks of the standby: to be the witness of its processes if the shard dies. */
export interface StandbyPort {
	/** The standby opens a pidfd of the process and holds its FIFOs. Resolves when it does, or could not be told; never rejects. */
	hold(container: Container, process: ContainerProcess): Promise<void>;
	/** A terminal whose master nobody holds hangs up, and that kills its session. */
	keepTerminal(containerId: string, execId: string, master: number): void;
	/** The master that was kept, or undefined. */
	savedTerminal(containerId: string, execId: string): Promise<number | undefined>;
	/** Resolves when the standby's writer is closed, so that closing stdin is an end of file. */
	releaseStdin(containerId: string, execId: string): Promise<void>;
	releaseStdio(containerId: string, execId: string): void;
	releaseProcess(containerId: string, execId: string): void;
	/** Takes over orphans; answers with what has happened already. */
	adopt(containerIds: readonly string[]): Promise<readonly Exit[]>;
}
