// Memory of calls. What the host passes, and what it reads afterwards, must stay where it is until
// the next call begins: both are held here, away from the garbage collector.

let held: ArrayBuffer[] = [];
let ended = false;

/** The results of the last call have been read when anything new is asked for. */
export function begin(): void {
  if (ended) {
    ended = false;
    held = [];
    __collect();
  }
}

export function end(): void {
  ended = true;
}

/** Keeps a buffer for this call; gives its address. */
export function hold(buffer: ArrayBuffer): usize {
  held.push(buffer);
  return changetype<usize>(buffer);
}

export function allocate(bytes: usize): usize {
  return hold(new ArrayBuffer(<i32>bytes));
}

/** The host asks for the memory of arguments here: each list is a buffer of its own. */
export function cabi_realloc(old: usize, oldBytes: usize, alignment: usize, bytes: usize): usize {
  begin();
  const taken = allocate(bytes);
  if (oldBytes > 0) memory.copy(taken, old, min(oldBytes, bytes));
  return taken;
}

/** The buffer behind a list that the host passed. */
export function bufferAt(address: usize, bytes: usize): ArrayBuffer {
  if (bytes == 0) return new ArrayBuffer(0);
  return changetype<ArrayBuffer>(address);
}

export function loadString(record: usize): string {
  return String.UTF8.decodeUnsafe(load<usize>(record), load<u32>(record, 4));
}

export function storeString(record: usize, text: string): void {
  const bytes = String.UTF8.encode(text);
  store<usize>(record, hold(bytes));
  store<u32>(record, bytes.byteLength, 4);
}

export function storeStrings(record: usize, texts: string[]): void {
  const list = allocate(8 * texts.length);
  for (let i = 0; i < texts.length; i++) storeString(list + 8 * i, texts[i]);
  store<usize>(record, list);
  store<u32>(record, texts.length, 4);
}

export function storeView(record: usize, view: ArrayBufferView, length: i32): void {
  hold(view.buffer);
  store<usize>(record, view.dataStart);
  store<u32>(record, length, 4);
}

let message = "refused without a reason";
let row: i32 = -1;

/** Says why this call is refused; the function that was called then returns null (or false). */
export function refuse(why: string, inRow: i32 = -1): void {
  message = why;
  row = inRow;
}

/** A result that is a fault: [tag, message, option of a row]. */
export function fault(): usize {
  const result = allocate(20);
  store<u8>(result, 1);
  storeString(result + 4, message);
  store<u8>(result, row >= 0 ? 1 : 0, 12);
  store<u32>(result, row, 16);
  end();
  return result;
}
