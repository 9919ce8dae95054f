/** One thing at a time, in the order of asking: the mailbox of a container in the shim. */
export class Turns {
	#last: Promise<unknown> = Promise.resolve();

	take<T>(work: () => Promise<T> | T): Promise<T> {
		const turn = this.#last.then(work);
		this.#last = turn.catch(() => {}); // the error is its caller's; the next turn begins all the same
		return turn;
	}
}
