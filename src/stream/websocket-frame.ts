const finalText = 0x81;

/** A whole, unmasked text message from a server (RFC 6455, section 5.2). */
export function textFrame(text: string): Buffer {
	const payload = Buffer.from(text);
	const { length } = payload;
	if (length < 126) return Buffer.concat([Buffer.from([finalText, length]), payload]);
	const header = Buffer.alloc(length < 0x1_0000 ? 4 : 10);
	header[0] = finalText;
	if (length < 0x1_0000) {
		header[1] = 126;
		header.writeUInt16BE(length, 2);
	} else {
		header[1] = 127;
		header.writeBigUInt64BE(BigInt(length), 2);
	}
	return Buffer.concat([header, payload]);
}
