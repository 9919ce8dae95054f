import { readable } from "../tar/tar-entry.ts";
import { tarError } from "../tar/tar-error.ts";

/** PATH_MAX, with its NUL. */
const maxPath = 4095;

/**
 * A name of an archive as a path below the layer's root: no `.`, no `..`, no slash at either end, empty for the root
 * itself. As Go's filepath.Clean and then containerd's RootPath: `..` takes back the part before it and stops at the
 * root. A byte string. Throws InvalidArgument.
 */
export function entryPath(name: string): string {
	if (name.includes("\0")) throw tarError(`entry ${JSON.stringify(readable(name))}: a NUL in its name`);
	// Most names need nothing: look before splitting.
	if (!/^\/|\/\/|\/$|(?:^|\/)\.\.?(?:\/|$)/.test(name)) return limited(name);
	const parts: string[] = [];
	for (const part of name.split("/"))
		if (part === "..") parts.pop();
		else if (part !== "" && part !== ".") parts.push(part);
	return limited(parts.join("/"));
}

function limited(path: string): string {
	if (path.length > maxPath) throw tarError("the name of an entry is longer than a path may be");
	return path;
}

export const parentPath = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
