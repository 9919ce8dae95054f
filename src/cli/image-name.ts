import { formatReference, normalizeReference } from "../images/reference.ts";

/** The full name of an image as people type it: `alpine` is `docker.io/library/alpine:latest`. InvalidArgument. */
export const imageName = (typed: string): string => formatReference(normalizeReference(typed));
