import type { Resident } from "./shims.ts";

/** By link: containers that are being created in a shim. */
export class ExpectedResidents {
	readonly #links = new Map<string, Map<string, Resident>>();

	add(link: string, { id, bundle }: Resident): void {
		const expected = this.#links.get(link) ?? new Map<string, Resident>();
		this.#links.set(link, expected.set(id, { id, bundle }));
	}

	remove(link: string, id: string): void {
		const expected = this.#links.get(link);
		expected?.delete(id);
		if (expected?.size === 0) this.#links.delete(link);
	}

	of(link: string): readonly Resident[] {
		return [...(this.#links.get(link)?.values() ?? [])];
	}
}
