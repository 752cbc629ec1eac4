// The two verbs of everything here that tells others what happened: each event is a CustomEvent with a `detail`.

/**
 * @param {EventTarget} target
 * @param {string} name
 * @param {unknown} [detail]
 */
export function emit(target, name, detail) {
  target.dispatchEvent(new CustomEvent(name, { detail }));
}

/**
 * @param {EventTarget} target
 * @param {string} name
 * @param {(detail: any) => void} handle
 */
export function on(target, name, handle) {
  target.addEventListener(name, (event) => handle(/** @type {CustomEvent} */ (event).detail));
}
