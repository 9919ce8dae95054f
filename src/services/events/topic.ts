import { DaemonError } from "../../errors/daemon-error.ts";
import { identifier } from "../../metadata/identifier.ts";

/** A topic is `/` and identifiers between slashes; else InvalidArgument (containerd: events/exchange/exchange.go). */
export function topic(text: string): string {
	const refuse = (problem: string) => new DaemonError("InvalidArgument", { kind: "topic", id: text }, problem);
	if (text === "") throw refuse("must not be empty");
	if (!text.startsWith("/")) throw refuse("must start with '/'");
	if (text.length === 1) throw refuse("must have at least one component");
	for (const component of text.slice(1).split("/")) identifier("topic", component);
	return text;
}
