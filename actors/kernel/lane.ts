/** A queue whose ends are both cheap and whose middle can be removed. Bounds are its owner's business. */
export class Lane<Item> {
	#items: (Item | undefined)[] = [];
	#head = 0;

	get length(): number {
		return this.#items.length - this.#head;
	}

	push(item: Item): void {
		this.#items.push(item);
	}

	shift(): Item | undefined {
		if (this.#head === this.#items.length) return undefined;
		const item = this.#items[this.#head];
		this.#items[this.#head++] = undefined;
		if (this.#head === this.#items.length) this.drain();
		else if (this.#head >= 64 && this.#head * 2 >= this.#items.length) {
			this.#items = this.#items.slice(this.#head);
			this.#head = 0;
		}
		return item;
	}

	/** Puts items in front of the others, in their order. */
	prepend(items: readonly Item[]): void {
		if (items.length === 0) return;
		this.#items = [...items, ...this.#items.slice(this.#head)];
		this.#head = 0;
	}

	remove(item: Item): boolean {
		const index = this.#items.indexOf(item, this.#head);
		if (index < 0) return false;
		this.#items.splice(index, 1);
		return true;
	}

	/** Takes everything out. */
	drain(): readonly Item[] {
		const items = this.items();
		this.#items = [];
		this.#head = 0;
		return items;
	}

	items(): readonly Item[] {
		return this.#items.slice(this.#head) as Item[];
	}
}
