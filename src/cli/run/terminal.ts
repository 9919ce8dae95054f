/** The terminal this process runs in, lent to a container. */
export interface Terminal {
	size(): { readonly width: number; readonly height: number };
	onResize(listener: () => void): void;
	/** Gives the terminal back as it was. */
	restore(): void;
}

/** Puts our terminal into raw mode: each key goes to the container, Ctrl-C included. Undefined where we have none. */
export function borrowTerminal(): Terminal | undefined {
	if (!process.stdin.isTTY) return undefined;
	process.stdin.setRawMode(true);
	const resized = "SIGWINCH";
	const listeners: (() => void)[] = [];
	return {
		size: () => {
			const [width, height] = process.stdout.isTTY ? process.stdout.getWindowSize() : [80, 24];
			return { width, height };
		},
		onResize(listener) {
			listeners.push(listener);
			process.on(resized, listener);
		},
		restore() {
			for (const listener of listeners.splice(0)) process.off(resized, listener);
			process.stdin.setRawMode(false);
			process.stdin.pause();
		},
	};
}
