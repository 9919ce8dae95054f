import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeFrame, type Frame, FrameReader, maximumData, type OversizeFrame } from "./frame.ts";

function read(bytes: Uint8Array, cuts: readonly number[]) {
	const frames: Frame[] = [];
	const oversize: OversizeFrame[] = [];
	const reader = new FrameReader({ frame: (frame) => frames.push(frame), oversize: (frame) => oversize.push(frame) });
	let from = 0;
	for (const cut of [...cuts].sort((a, b) => a - b)) {
		reader.push(bytes.subarray(from, cut));
		from = Math.max(from, cut);
	}
	reader.push(bytes.subarray(from));
	return { frames, oversize };
}

const frames = fc.array(
	fc.record({
		stream: fc.integer({ min: 0, max: 0xffff_ffff }),
		type: fc.integer({ min: 0, max: 255 }),
		flags: fc.integer({ min: 0, max: 255 }),
		data: fc.uint8Array({ maxLength: 300 }),
	}),
	{ maxLength: 8 },
);

test("frames come out as they went in, however the bytes are cut", () => {
	fc.assert(
		fc.property(frames, fc.array(fc.nat(2500), { maxLength: 20 }), (sent, cuts) => {
			const got = read(Buffer.concat(sent.map(encodeFrame)), cuts).frames;
			assert.deepEqual(
				got.map((frame) => ({ ...frame, data: [...frame.data] })),
				sent.map((frame) => ({ ...frame, data: [...frame.data] })),
			);
		}),
	);
});

test("an oversize frame is read over and reported; the next frame is whole", () => {
	const large = Buffer.alloc(10 + maximumData + 1);
	large.writeUInt32BE(maximumData + 1, 0);
	large.writeUInt32BE(7, 4);
	large.writeUInt8(1, 8);
	const next = { stream: 9, type: 1, flags: 0, data: Buffer.from("next") };
	const { frames, oversize } = read(Buffer.concat([large, encodeFrame(next)]), [3, 10, 100_000, maximumData]);
	assert.deepEqual(oversize, [{ stream: 7, type: 1, flags: 0, length: maximumData + 1 }]);
	assert.equal(frames.length, 1);
	assert.equal(Buffer.from(frames[0]?.data ?? []).toString(), "next");
});

test("a frame of the greatest length passes", () => {
	const frame = { stream: 1, type: 2, flags: 0, data: Buffer.alloc(maximumData, 7) };
	assert.equal(read(encodeFrame(frame), [11]).frames[0]?.data.length, maximumData);
});
